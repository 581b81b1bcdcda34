"""The command line: `python -m bq analyze AAPL MSFT --market files:DIR [--json]`; other commands in `bq.commands`.

Exit codes: 0 when every ticker was answered, 1 when some were not, 2 when nothing could be done.
"""

import argparse
import contextlib
import json
import sys
from collections.abc import Sequence
from typing import Any

from bq.commands import scan, store
from bq.errors import Failure, Problem
from bq.schema import Analysis, Detail, Written

PROGRESS_FROM = 20  # tickers


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the arguments and run a command."""
    parser = argparse.ArgumentParser(
        prog="python -m bq", description="Which option butterfly, if any, is worth buying?"
    )
    commands = parser.add_subparsers(dest="command", required=True)
    analyze = commands.add_parser("analyze", help="analyse tickers and print a table, or JSON")
    analyze.add_argument("tickers", nargs="+", metavar="TICKER", help="symbols, or several in one with commas")
    analyze.add_argument("--market", help="sample, files:DIR or yahoo (default: BQ_MARKET, else yahoo)")
    analyze.add_argument("--as-of", help='ISO time that stands for now in sample and files:, "2026-08-20T15:03:31Z"')
    analyze.add_argument("--detail", choices=("summary", "default", "full"), default="summary", help="for --json")
    analyze.add_argument("--json", action="store_true", help="print the items as JSON, as the server would")
    analyze.set_defaults(run=_analyze)
    scan.add(commands)
    store.add(commands)
    arguments = parser.parse_args(argv)
    try:
        code: int = arguments.run(arguments)
        return code
    except Failure as failure:
        print(f"butterquant: {failure.problem.error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("butterquant: stopped", file=sys.stderr)
        return 130


def _analyze(arguments: argparse.Namespace) -> int:
    from bq import library
    from bq.market.open import open_market

    names = library.normalise(name for text in arguments.tickers for name in text.split(",") if name.strip())
    market = open_market(library.settings_for(arguments.market, arguments.as_of), library.now)
    try:
        answers: list[tuple[str, Written | Problem]] = []
        detail: Detail = arguments.detail if arguments.json else "full"  # the table shows what only a full answer has
        with _progress(len(names)) as advance:
            for answer in library.answers(market, names, detail):
                answers.append(answer)
                advance()
    finally:
        market.close()
    if arguments.json:
        items = [library.item(ticker, answer, arguments.detail) for ticker, answer in answers]
        json.dump(items, sys.stdout, ensure_ascii=False, indent=None if len(items) > 1 else 2, allow_nan=False)
        print()
    else:
        _print_table(answers)
    return 1 if any(isinstance(answer, Problem) for _, answer in answers) else 0


@contextlib.contextmanager
def _progress(total: int) -> Any:
    """Show a bar on long lists, on the error stream and only to a person."""
    if total < PROGRESS_FROM or not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    bar = Progress(BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=Console(stderr=True))
    with bar:
        task = bar.add_task("analyse", total=total)
        yield lambda: bar.advance(task)


def _print_table(answers: Sequence[tuple[str, Written | Problem]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title="ButterQuant", caption="No investment advice. PoP and E[P&L] under the forecast; $ a share.")
    for name in ("ticker", "price", "30 sessions", "forecast vol", "implied", "trend", "cycle", "position", "days"):
        table.add_column(name, justify="left" if name in ("ticker", "position", "trend") else "right")
    for name in ("cost", "risk", "PoP", "E[P&L]", "score", "verdict"):
        table.add_column(name, justify="right")
    for ticker, answer in answers:
        if isinstance(answer, Problem):
            continue
        table.add_row(*_row(ticker, answer.analysis))
    console = Console(width=None if sys.stdout.isatty() else 170)
    console.print(table)
    for ticker, answer in answers:
        if isinstance(answer, Problem):
            console.print(f"{ticker}: {answer.error} ({answer.code})", style="red", highlight=False)


def _row(ticker: str, a: Analysis) -> list[str]:
    from msgspec import UNSET

    b, g, x = a.butterfly, a.garch, a.extended
    own = x is not UNSET and x.quality.iv_source == "own"
    ev = "" if x is UNSET or (x.search is None and not own) else f"{x.risk.ev_forecast:+.2f}"
    periods = a.fourier.dominant_periods
    credit = "-" if b.is_credit_strategy else ""
    return [
        ticker,
        f"{a.current_price:,.2f}",
        f"{a.arima.forecast_30d:,.2f}",
        f"{100 * g.predicted_vol:.1f} %",
        f"{100 * g.current_iv:.1f} %" if own else "none",
        a.fourier.trend_direction,
        f"{periods[0].period:.0f} d" if periods else "none",
        f"{a.fourier.butterfly_type} {b.lower_strike:g}/{b.center_strike:g}/{b.upper_strike:g}",
        str(b.dte),
        f"{credit}{b.net_debit:.2f}",
        f"{b.max_loss:.2f}",
        f"{b.prob_profit:.0f} %",
        ev,
        f"{a.score.total:.0f}",
        a.score.recommendation,
    ]
