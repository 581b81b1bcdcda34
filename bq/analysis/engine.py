"""The batch function: snapshots in, one analysis or problem each out, in order.

Pure: the same snapshot gives the same analysis whatever else is in the batch. Kernels run over the whole batch; what is
left for each ticker is choosing and writing down.
"""

import datetime as dt
import math
import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final, NamedTuple, TypeAlias

import numpy as np

from bq.analysis import arbitrage, chain, cycles, design, forecast, panel, report, risk, search, volatility
from bq.analysis.cash_dividends import Payments
from bq.analysis.design import Design, Outlook
from bq.analysis.findings import Findings, Target
from bq.analysis.measures import Market, Measures, bring_together, overlapping_returns
from bq.analysis.measures import Outlook as MeasuresOutlook
from bq.analysis.panel import LEAST_RETURNS
from bq.analysis.slices import Slice
from bq.analysis.soundness import is_sound
from bq.config import VERSION
from bq.errors import Problem, bad_data, not_enough_data
from bq.market import calendar, quality
from bq.market.quality import ChainQuality
from bq.market.source import Snapshot
from bq.schema import Analysis, Detail, Written
from kernels import fourier_tables, status

ENGINE_VERSION: Final = VERSION
COMMISSION: Final = 0.65  # $ a contract of 100 shares, the usual retail price
SHARES = 100.0


def analyze(snapshots: Sequence[Snapshot | Problem], commission: float = COMMISSION) -> list[Analysis | Problem]:
    """Analyse a batch, in full.

    Parameters
    ----------
    snapshots : sequence of Snapshot or Problem
        A problem is handed through in its place.
    commission : float
        $ a contract.

    Returns
    -------
    list of Analysis or Problem
        One for each, in order. A ticker that cannot be analysed never hurts another.
    """
    answers = answer(snapshots, ["full"] * len(snapshots), commission=commission)
    return [found.analysis if isinstance(found, Written) else found for found in answers]


def answer(
    snapshots: Sequence[Snapshot | Problem],
    details: Sequence[Detail],
    give_way: Callable[[], None] = lambda: None,
    commission: float = COMMISSION,
) -> list[Written | Problem]:
    """Analyse a batch as far as each is asked for: a summary or a default answer spares what only a full one shows.

    Parameters
    ----------
    give_way
        Called between two stages: a thread that others are to overtake may wait there.
    """
    answers: list[Written | Problem | None] = [s if isinstance(s, Problem) else check(s) for s in snapshots]
    rows = [i for i, found in enumerate(answers) if found is None]
    written = _answer([snapshots[i] for i in rows], [details[i] for i in rows], commission, give_way)  # type: ignore[misc]
    for i, found in zip(rows, written, strict=True):
        answers[i] = found
    return answers  # type: ignore[return-value]


def check(snapshot: Snapshot) -> Problem | None:
    """Refuse a ticker whose history cannot carry the models."""
    closes = snapshot.bars.model_close
    if closes.size - 1 < LEAST_RETURNS:
        return not_enough_data(snapshot.ticker, int(closes.size), LEAST_RETURNS + 1)
    recent = closes[-(panel.RETURNS + 1) :]
    if not (np.isfinite(recent).all() and (recent > 0.0).all()):
        return bad_data(snapshot.ticker, "the history holds prices that are missing or not positive.")
    if np.ptp(np.log(recent[-(cycles.TREND_SESSIONS + 1) :])) == 0.0:
        return bad_data(snapshot.ticker, f"the price has not changed for {cycles.TREND_SESSIONS} sessions.")
    if snapshot.spot <= 0.0:
        return bad_data(snapshot.ticker, f"the price in force is {snapshot.spot:g}.")
    if not (np.isfinite(snapshot.spot) or snapshot.chain is not None):
        return bad_data(snapshot.ticker, "no price in force.")
    return None


def _answer(
    snapshots: Sequence[Snapshot], details: Sequence[Detail], commission: float, give_way: Callable[[], None]
) -> list[Written | Problem]:
    if not snapshots:
        return []
    qualities = quality.inspect_all(snapshots)
    table = panel.build(snapshots)
    vol = volatility.study(table)
    give_way()
    price = forecast.study(table, volatility.HORIZON)
    give_way()
    spectrum = cycles.study(table)
    slices = [  # of grade D nothing is read: no number may be implied from such a chain, whatever some quotes of it say
        part
        for i, (s, q) in enumerate(zip(snapshots, qualities, strict=True))
        if q.grade != "D"
        for part in chain.slices_of(i, s, q)
    ]
    give_way()
    chain.read(slices)
    give_way()
    arbitrage.scan([s for s in slices if details[s.owner] == "full"], snapshots, commission / SHARES)
    usable: list[list[Slice]] = [[] for _ in snapshots]
    for part in slices:
        usable[part.owner].append(part)
    problems = [_kernel_problem(s, int(vol.fit.status[i]), int(price.fit.status[i])) for i, s in enumerate(snapshots)]
    traded = [s for s in slices if s.svi is not None and problems[s.owner] is None]
    assumed = [_assumed_target(s.as_of) for s in snapshots]
    sessions = {t.sessions for t in assumed} | {part.sessions for part in slices if part.svi is not None}
    give_way()
    simulated = forecast.simulate_returns(table, vol, snapshots, sorted(sessions))
    batch = Batch(table, vol, price, spectrum, simulated, commission / SHARES)
    give_way()
    found = search.look(traded, [_search_outlook(s, snapshots[s.owner], batch) for s in traded], batch.fee)
    give_way()
    targets: dict[int, Target] = {}
    for i, snapshot in enumerate(snapshots):
        if problems[i] is not None:
            continue
        target = _target([s for s in traded if s.owner == i], found.get(i)) or assumed[i]
        if target.slice is None and not np.isfinite(snapshot.spot):
            problems[i] = bad_data(snapshot.ticker, "no price in force, and no usable quotes to read one off.")
        else:
            targets[i] = target
    shown = {i: one.choices if details[i] == "full" else one.choices[:1] for i, one in found.items()}
    measures = _measures(snapshots, batch, targets, shown)
    give_way()
    drafts = [_draft(i, snapshots[i], batch, found.get(i), shown.get(i, []), t, measures) for i, t in targets.items()]
    findings = {f.row: f for f in _complete(drafts, batch, qualities, usable)}
    give_way()
    return report.write([problem or findings[i] for i, problem in enumerate(problems)], details, ENGINE_VERSION)


class Batch(NamedTuple):
    """What the kernels found for all rows."""

    panel: panel.Panel
    volatility: volatility.Volatility
    price: forecast.PriceForecast
    cycles: cycles.CycleStudy
    simulated: dict[int, np.ndarray]
    fee: float  # of one contract, a share


ByExpiry: TypeAlias = dict[tuple[int, np.datetime64], Measures]
"""The measures of a row of the batch at an expiry."""


class Draft(NamedTuple):
    """One ticker before the prices of assumed strikes are known."""

    row: int
    snapshot: Snapshot
    target: Target
    measures: ByExpiry  # of the whole batch
    outlook: Outlook
    total_variance: float
    design: Design | None
    found: search.Found | None
    choices: list[search.Choice]  # of the search, as many as are shown, the best first


def _kernel_problem(snapshot: Snapshot, garch_code: int, arima_code: int) -> Problem | None:
    for name, code in (("GARCH", garch_code), ("ARIMA", arima_code)):
        if code not in status.FINITE:
            return bad_data(snapshot.ticker, f"the {name} model has no fit ({status.MEANING[code]}).")
    return None


def _search_outlook(s: Slice, snapshot: Snapshot, batch: Batch) -> search.Outlook:
    logs = np.log(snapshot.bars.model_close)
    enough = logs.size >= panel.LEAST_RETURNS + s.sessions
    return search.Outlook(
        batch.simulated[s.sessions][s.owner],
        overlapping_returns(logs, s.sessions) if enough else None,
        volatility.error_to(batch.volatility, s.owner, s.sessions),
    )


def _target(slices: Sequence[Slice], found: search.Found | None) -> Target | None:
    """Choose the expiry: that of the best candidate; where the search left none, the usable one nearest 30 days."""
    if found is not None and found.choices:
        s = found.choices[0].slice
    elif slices:
        s = min(slices, key=lambda part: (abs(part.dte - chain.DTE_TARGET), part.dte))
    else:
        return None
    return Target(s.expiry, s.dte, s.tau, s.sessions, s)


@lru_cache(maxsize=64)
def _assumed_target(as_of: dt.datetime) -> Target:
    today = np.datetime64(calendar.local_date(as_of), "D")
    days = calendar.fridays(today + chain.DTE_LOW, today + chain.DTE_HIGH)
    expiry = days[np.argmin(np.abs((days - today).astype(np.int64) - chain.DTE_TARGET))]
    dte = int((expiry - today).astype(int))
    return Target(expiry, dte, float(calendar.tau(as_of, expiry)), calendar.sessions_to(as_of, expiry), None)


def _measures(
    snapshots: Sequence[Snapshot], batch: Batch, targets: dict[int, Target], shown: dict[int, list[search.Choice]]
) -> ByExpiry:
    """Make the distributions at every expiry that a target or a choice of the search belongs to, all at once."""
    wanted: dict[tuple[int, np.datetime64], MeasuresOutlook] = {}
    for i, first in targets.items():
        others = [Target(s.expiry, s.dte, s.tau, s.sessions, s) for s in (choice.slice for choice in shown.get(i, []))]
        for target in (first, *others):
            if (i, target.expiry) not in wanted:
                error = volatility.error_to(batch.volatility, i, target.sessions)
                simulated = batch.simulated[target.sessions][i]
                forward = _forward(snapshots[i], target)
                wanted[i, target.expiry] = outlook_on(snapshots[i], simulated, error, target, forward)
    return dict(zip(wanted, bring_together(list(wanted.values())), strict=True))


def _forward(snapshot: Snapshot, target: Target) -> float:
    """Take the forward that the quotes imply; without them the spot grows at the rate."""
    if target.slice is not None:
        return target.slice.forward
    return snapshot.spot * float(np.exp(snapshot.rates.rate(target.tau) * target.tau))


def outlook_on(
    snapshot: Snapshot, simulated: np.ndarray, relative_error: float, target: Target, forward: float
) -> MeasuresOutlook:
    """Collect what the distributions of the price at an expiry are made from.

    Parameters
    ----------
    simulated : (4096,) float64
        Log returns to the expiry.
    relative_error : float
        Of the forecast volatility.
    """
    logs = np.log(snapshot.bars.model_close)
    enough = logs.size >= panel.LEAST_RETURNS + target.sessions
    s = target.slice
    return MeasuresOutlook(
        simulated,
        overlapping_returns(logs, target.sessions) if enough else None,
        forward,
        relative_error,
        forecast.seed_of(snapshot),
        Market(s.svi, s.forward) if s is not None and s.svi is not None else None,
    )


def _draft(
    i: int,
    snapshot: Snapshot,
    batch: Batch,
    found: search.Found | None,
    shown: list[search.Choice],
    target: Target,
    measures: ByExpiry,
) -> Draft:
    """Find a ticker's position where there are quotes to trade at."""
    rate = snapshot.rates.rate(target.tau)
    spot = snapshot.spot if target.slice is None else target.slice.spot
    total = volatility.total_variance(batch.volatility.ahead[i], target.sessions)
    forward = _forward(snapshot, target)
    outlook = Outlook(
        spot=spot,
        median=measures[i, target.expiry].forecast.median,
        sd=forward * float(np.sqrt(np.expm1(total))),
        sigma=float(np.sqrt(total / target.tau)),
        expiry=target.expiry,
        dte=target.dte,
        tau=target.tau,
        sessions=target.sessions,
        rate=rate,
        dividend=rate - float(np.log(forward / spot)) / target.tau,
    )
    chosen = None
    if shown:
        chosen = shown[0].design
    elif target.slice is not None:
        chosen = design.near_median(target.slice, outlook.median, outlook.sd, batch.fee)
        if chosen is None:
            measures[i, target.expiry] = measures[i, target.expiry]._replace(market=None)
    return Draft(i, snapshot, target, measures, outlook, total, chosen, found, shown)


def _complete(
    drafts: Sequence[Draft], batch: Batch, qualities: Sequence[ChainQuality], slices: Sequence[list[Slice]]
) -> list[Findings]:
    """Price what had no quotes, and assess every position of the batch."""
    unquoted = [d for d in drafts if d.design is None]
    ladders = design.fair_ladders([d.outlook for d in unquoted])
    assumed = {
        d.row: design.from_forecast(d.outlook, ladder, batch.fee) for d, ladder in zip(unquoted, ladders, strict=True)
    }
    cases: list[risk.Case] = []
    first, sound = [], list[bool]()
    for d in drafts:
        first.append(len(cases))
        sound.append(is_sound(d.snapshot, qualities[d.row], d.outlook.spot))
        cases += _cases(d, d.design or assumed[d.row], batch, sound[-1])
    assessed = risk.assess(cases)
    return [
        Findings(
            row=d.row,
            snapshot=d.snapshot,
            quality=qualities[d.row],
            sound=trusted,
            panel=batch.panel,
            volatility=batch.volatility,
            price=batch.price,
            cycles=batch.cycles,
            slices=slices[d.row],
            target=d.target,
            spot=d.outlook.spot,
            sigma=d.outlook.sigma,
            total_variance=d.total_variance,
            measures=cases[begin].measures,
            design=cases[begin].design,
            payments=cases[begin].payments,
            assessed=assessed[begin],
            found=d.found,
            candidates=[(choice, assessed[begin + j].risk) for j, choice in enumerate(d.choices)],
        )
        for d, begin, trusted in zip(drafts, first, sound, strict=True)
    ]


def _cases(d: Draft, chosen: Design, batch: Batch, sound: bool) -> list[risk.Case]:
    """List a ticker's positions: the trade first, then the other candidates."""
    payments = Payments.of(d.snapshot)
    shrunk: list[tuple[Design, float | None]] = [(choice.design, choice.ev_shrunk) for choice in d.choices]
    return [
        risk.Case(
            position,
            d.measures[d.row, position.expiry],
            d.outlook.spot,
            math.sqrt(volatility.total_variance(batch.volatility.ahead[d.row], position.sessions)),
            payments,
            sound,
            ev_shrunk,
        )
        for position, ev_shrunk in shrunk or [(chosen, None)]
    ]


def load_the_rest() -> None:
    """Load what only the confirmation of a cycle needs: SciPy, with the tapers of the usual length."""
    fourier_tables.line_test(panel.RETURNS)


def warm_up() -> tuple[float, float]:
    """Run a small batch through everything and check it; seconds a slice and seconds a ticker.

    Raises
    ------
    RuntimeError
        When an answer is off: the kernels of this host do not compute what they must.
    """
    from bq.analysis import self_test

    snapshots = self_test.snapshots()
    analyze(snapshots[:1])
    one, many, answers = math.inf, math.inf, list[Analysis | Problem]()
    clock = time.perf_counter
    for _ in range(2):  # the faster of two: the machine may have had something else to do
        began = clock()
        analyze(snapshots[:1])
        one, began = min(one, clock() - began), clock()
        answers = analyze(snapshots)
        many = min(many, clock() - began)
    self_test.check(answers)
    each = max((many - one) / max(len(snapshots) - 1, 1), one / 16.0)  # less would be the clock's doing
    return max(one - each, 0.0), each
