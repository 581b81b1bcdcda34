"""`python -m bq scan`: analyse a universe, store what comes of it, and say what stands on top.

A scan that was stopped, by Ctrl-C, by a crash or by the machine, is gone on with by the same command.
"""

import argparse
import asyncio
import contextlib
import json
import secrets
import signal
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

import msgspec

from bq.errors import Failure, Problem

if TYPE_CHECKING:
    from bq.config import Settings
    from bq.scan.ledger import Ledger
    from bq.scan.scanner import Scanner
    from bq.scan.universe import Universe

STOPPED: Final = 130
OTHER_PROCESS: Final = Problem("conflict", "Another process is scanning into this database. Wait until it has ended.")
SHOWN_TICKERS: Final = 8  # of each kind of failure
SHOWN_REMARKS: Final = 20


def add(commands: Any) -> None:
    """Say which arguments the command takes."""
    scan = commands.add_parser(
        "scan", help="analyse a universe, store the results and rank them", description=__doc__.partition("\n\n")[2]
    )
    scan.add_argument(
        "--universe",
        default="all",
        help="sp500, nasdaq100, all (default), a file of tickers (text, CSV, Markdown), - for standard input, "
        "or tickers with commas",
    )
    scan.add_argument("--market", help="sample, files:DIR or yahoo (default: BQ_MARKET, else yahoo)")
    scan.add_argument("--as-of", help='ISO date or time that stands for now in sample and files:, "2025-06-30"')
    scan.add_argument("--db", help="sqlite:///FILE or postgresql://... (default: DATABASE_URL, else a file in .state)")
    scan.add_argument("--new", action="store_true", help="begin anew where an earlier scan was stopped half-way")
    scan.add_argument("--top", type=int, default=10, metavar="N", help="show so many of the ranking (default 10)")
    scan.add_argument("--json", action="store_true", help="print the summary as JSON")
    scan.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the command; its exit code: 0 when every ticker was analysed, 1 when some failed, 130 when it was stopped."""
    from bq import library

    settings = library.settings_for(arguments.market, arguments.as_of)
    if arguments.db is not None:
        settings = msgspec.structs.replace(settings, database_url=arguments.db)
    return asyncio.run(_scan(arguments, settings))


async def _scan(arguments: argparse.Namespace, settings: "Settings") -> int:
    from bq import library
    from bq.market.open import open_market
    from bq.scan.claim import Claim
    from bq.scan.database import url_of
    from bq.scan.ledger import Ledger
    from bq.scan.recall import Recall
    from bq.scan.scanner import Scanner
    from bq.scan.store import Store
    from bq.serving.compute import load_engine
    from bq.serving.local import Local
    from bq.serving.scans import asker

    ledger = Ledger(lambda: Store.open(url_of(settings)))
    await ledger.call(lambda store: None)  # a database that cannot be had is said before anything is compiled
    local = Local(
        settings, lambda: open_market(settings, library.now), load_engine, clock=time.monotonic, wall=time.time
    )
    recall = local.pools.recall = Recall(lambda: Store.open(url_of(settings)), time.monotonic)
    try:
        async with local:
            chosen = await asyncio.to_thread(_universe, arguments.universe, settings, local.market)
            _tell_remarks(chosen)
            if (claim := await ledger.call(lambda store: Claim.take(store.database))) is None:
                raise Failure(OTHER_PROCESS)
            try:
                spec = await _begin(ledger, chosen, settings, local.market.name, arguments.new)
                ask = asker(local.desk, spec.scan_id, time.monotonic, time.time)
                scanner = Scanner(spec, ledger, ask, time.monotonic)
                began = time.monotonic()
                complete = await _run(scanner, ledger)
                seconds = time.monotonic() - began
                if not complete:
                    told = f"stopped at {scanner.done} of {scanner.total}; the same command goes on with it"
                    print(f"butterquant: {told}", file=sys.stderr)
                    return STOPPED
                await scanner.finish("completed", library.now())
            finally:
                await ledger.run(claim.release)
            report = await ledger.call(lambda store: _report(store, scanner, arguments.top))
            report |= {
                "seconds": round(seconds, 2),
                "analysed": scanner.done - scanner.before,
                "compute_seconds": round(local.compute_s, 2),
                "threads": local.pools.compute_threads,
                "remarks": [str(remark) for remark in chosen.remarks],
            }
    finally:
        recall.close()
        await ledger.close()
    if arguments.json:
        json.dump(report, sys.stdout, ensure_ascii=False, allow_nan=False)
        print()
    else:
        _print(report)
    return 1 if report["failed"] else 0


def _universe(text: str, settings: "Settings", market: Any) -> "Universe":
    from bq.scan import ticker_list, universe

    if text == "-":
        chosen = universe.from_list(ticker_list.read(sys.stdin.read()), market)
    else:
        chosen = universe.resolve_text(text, market)
    return universe.at_most(chosen, settings.task_limit)


def _tell_remarks(chosen: "Universe") -> None:
    """Say on the error stream what of the list was not taken."""
    for remark in chosen.remarks[:SHOWN_REMARKS]:
        print(f"{chosen.name}, {remark}", file=sys.stderr)
    if (more := len(chosen.remarks) - SHOWN_REMARKS) > 0:
        print(f"and {more} more like these", file=sys.stderr)
    if chosen.note:
        print(chosen.note, file=sys.stderr)


async def _begin(ledger: "Ledger", chosen: "Universe", settings: "Settings", market: str, anew: bool) -> Any:
    """Find the scan to go on with, or begin one."""
    from bq import library
    from bq.scan import resumption
    from bq.scan.records import ScanSpec

    now = library.now()
    for spec in await ledger.call(lambda store: store.unfinished()):
        same = resumption.is_ours(spec, settings, market) and (spec.universe, spec.tickers) == (
            chosen.name,
            chosen.tickers,
        )
        if not same:
            continue
        if not anew and not resumption.is_too_old(spec, settings, now):
            print(f"going on with the scan begun at {spec.started_at:%Y-%m-%d %H:%M:%S} UTC", file=sys.stderr)
            return spec
        scan_id = spec.scan_id
        await ledger.call(lambda store: store.finish(scan_id, "cancelled", now))  # noqa: B023 - awaited at once
    spec = ScanSpec(
        scan_id=secrets.token_hex(16),
        universe=chosen.name,
        tickers=chosen.tickers,
        as_of=settings.as_of,
        started_at=now,
        market=market,
    )
    await ledger.call(lambda store: store.begin(spec))
    return spec


async def _run(scanner: "Scanner", ledger: "Ledger") -> bool:
    """Run a scan with a bar; the first Ctrl-C stops it in order, a second one at once."""
    loop = asyncio.get_running_loop()

    def stop() -> None:
        scanner.halt()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    work = asyncio.ensure_future(scanner.run())
    try:
        with _bar(scanner, ledger) as show:
            while not work.done():
                await asyncio.wait((work,), timeout=0.1)
                show()
        return work.result()
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


@contextlib.contextmanager
def _bar(scanner: "Scanner", ledger: "Ledger") -> Iterator[Callable[[], None]]:
    """Show how far a scan is, on the error stream and only to a person."""
    if not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn(),
        TextColumn("{task.fields[failed]}"),
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(scanner.spec.universe, total=scanner.total, failed="")

        def show() -> None:
            doing = "stopping" if scanner.halting else "waiting for the database" if ledger.waiting else "scan"
            failed = f"{scanner.failures.total()} failed" if scanner.failures else ""
            bar.update(task, completed=scanner.done, description=f"{doing} {scanner.spec.universe}", failed=failed)

        yield show


def _report(store: Any, scanner: "Scanner", top: int) -> dict[str, Any]:
    """Read what a finished scan came to."""
    from bq.scan import overview, rankings

    scan_id = scanner.spec.scan_id
    found = overview.find(store, scan_id)
    assert found is not None
    ranking = None
    if found.done > found.failed:
        with store.database.read() as connection:
            query = rankings.Query(scan=scan_id, limit=min(max(top, 1), 5000))
            ranking = rankings.rank_rows(connection, None, query)
    failed = overview.failed(store, scan_id, 5000)
    return {
        "scan_id": scan_id,
        "universe": found.universe,
        "market": found.market,
        "as_of": None if ranking is None else ranking.as_of,
        "status": found.status,
        "total": found.total,
        "failed": found.failed,
        "failures": overview.failures(store, scan_id),
        "failed_tickers": [{"ticker": one.ticker, "code": one.code, "error": one.error} for one in failed],
        "compared_with": None if ranking is None or ranking.previous is None else ranking.previous.as_of,
        "top": [] if ranking is None else msgspec.to_builtins(ranking.data),
    }


def _print(report: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else 150, highlight=False)
    if report["top"]:
        compared = f"; changes since {report['compared_with']}" if report["compared_with"] else ""
        table = Table(
            title=f"{report['universe']} on the {report['market']} market, data of {report['as_of']}",
            caption=f"95 % intervals; $ a share; PoP and E[P&L] under the forecast{compared}. No investment advice.",
        )
        for name in (
            "rank",
            "ticker",
            "score",
            "verdict",
            "position",
            "expiry",
            "cost",
            "risk",
            "PoP",
            "E[P&L]",
            "change",
        ):
            table.add_column(name, justify="left" if name in ("ticker", "verdict", "position") else "right")
        for row in report["top"]:
            table.add_row(*_cells(row))
        console.print(table)
    pace = report["analysed"] / report["seconds"] if report["seconds"] else 0.0
    share = 100.0 * report["compute_seconds"] / (report["seconds"] * report["threads"]) if report["seconds"] else 0.0
    console.print(
        f"{report['analysed']} of {report['total']} tickers in {report['seconds']:.1f} s, {pace:.0f} a second; "
        f"the engine ran {report['compute_seconds']:.1f} s on {report['threads']} threads, {share:.0f} % of their time."
    )
    for code, count in report["failures"].items():
        names = [one["ticker"] for one in report["failed_tickers"] if one["code"] == code]
        more = f" and {count - SHOWN_TICKERS} more" if count > SHOWN_TICKERS else ""
        console.print(f"{count} failed with {code}: {', '.join(names[:SHOWN_TICKERS])}{more}", style="red")
    console.print(f"Stored as scan {report['scan_id']}.")


def _cells(row: dict[str, Any]) -> list[str]:
    def interval(low: float | None, high: float | None) -> str:
        return "" if low is None or high is None else f" ({low:.0f}-{high:.0f})"

    change, ev = row["change"], row["ev_forecast"]
    tied = "=" if row["tied"] > 1 else ""
    return [
        f"{row['rank']}{tied}{interval(row['rank_low'], row['rank_high'])}",
        row["ticker"],
        f"{row['score']:.1f}{interval(row['score_low'], row['score_high'])}",
        row["recommendation"],
        f"{row['strategy']} {row['lower']:g}/{row['center']:g}/{row['upper']:g}",
        row["expiry"],
        f"{'-' if row['is_credit_strategy'] else ''}{row['net_debit']:.2f}",
        f"{row['max_loss']:.2f}",
        f"{row['prob_profit']:.0f} %",
        "" if ev is None else f"{ev:+.2f}",
        "" if change is None else f"{change['score']:+.1f}",
    ]
