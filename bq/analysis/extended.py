"""The block `extended` of the full answer: everything that is new, with its evidence."""

import math
from typing import Any

import msgspec
import numpy as np

from bq import schema
from bq.analysis import arbitrage, charts, maturity
from bq.analysis.evidence import Facts
from bq.analysis.findings import Findings
from bq.analysis.identity import data_hash
from bq.analysis.legs import Legs, legs_of, occ_symbol
from bq.analysis.position import LEGS
from bq.analysis.rounding import number, numbers
from bq.analysis.search import Choice
from bq.analysis.slices import Slice
from bq.market.source import F64, Snapshot
from bq.schema import Reason


def write(f: Findings, legs: Legs, facts: Facts, parts: schema.ScoreParts, version: str) -> schema.Extended:
    """Write the block."""
    snapshot = f.snapshot
    return schema.Extended(
        as_of=snapshot.as_of.isoformat(),
        source=snapshot.source,
        name=snapshot.name,
        stale=snapshot.stale,
        engine_version=version,
        data_hash=data_hash(snapshot),
        quality=schema.Quality(
            grade=f.quality.grade,
            reasons=_reasons(f, legs),
            iv_source="none" if facts.atm_iv is None else "own",
            iv_percentile_of="realized_history" if facts.implied is None else "implied_history",
            rate_source=snapshot.rates.source,
        ),
        iv_level=_iv_level(f, facts),
        cycles=_extended_cycles(f, facts),
        chain=_chain(f),
        term_structure=_term(f),
        constant_maturity=maturity.constant(f.slices),
        density=charts.densities(f),
        legs=legs_of(f, legs),
        risk=_round_risk(f.risk),
        search=_search(f),
        candidates=[_candidate(f.snapshot.ticker, *pair) for pair in f.candidates],
        payoff=schema.Payoff(
            numbers(legs.grid, 3),
            numbers(f.design.position.payoff(legs.grid) - f.design.position.debit),
            numbers(legs.today - f.design.position.debit),
        ),
        score=parts,
    )


def _iv_level(f: Findings, facts: Facts) -> schema.IvLevel:
    return schema.IvLevel(
        iv_30d=None if facts.iv_30 is None else number(facts.iv_30),
        days=len(f.snapshot.iv_history),
        rank=None if facts.implied is None else number(facts.implied.rank, 2),
        percentile=None if facts.implied is None else number(facts.implied.percentile, 2),
        realized_percentile=number(facts.percentile, 2),
    )


def _search(f: Findings) -> schema.Search | None:
    if f.found is None:
        return None
    s = f.found
    return schema.Search(s.examined, s.passed, s.positive, s.rejected, s.front_size)


def _candidate(ticker: str, choice: Choice, risk: schema.Risk) -> schema.Candidate:
    d, p, rounded = choice.design, choice.design.position, _round_risk(risk)
    strikes = (p.lower, p.center, p.upper)
    return schema.Candidate(
        expiry=str(d.expiry),
        form=p.form,
        lower_strike=number(p.lower, 4),
        center_strike=number(p.center, 4),
        upper_strike=number(p.upper, 4),
        cost=number(p.debit),
        max_profit=number(p.max_profit),
        max_loss=number(p.max_loss),
        breakeven_lower=None if p.breakeven_lower is None else number(p.breakeven_lower, 4),
        breakeven_upper=None if p.breakeven_upper is None else number(p.breakeven_upper, 4),
        pop_market=None if rounded.pop_market is None else rounded.pop_market.value,
        pop_forecast=rounded.pop_forecast.value,
        pop_empirical=None if rounded.pop_empirical is None else rounded.pop_empirical.value,
        ev_market=rounded.ev_market,
        ev_forecast=rounded.ev_forecast,
        ev_empirical=rounded.ev_empirical,
        ev_worst=rounded.ev_worst,
        spread_share=number(p.half_spreads / p.max_loss),
        score=number(choice.score),
        legs=[
            f"{leg.quantity}x {occ_symbol(ticker, str(d.expiry), leg.is_call, strikes[leg.strike])}"
            for leg in LEGS[p.form]
        ],
        risk=rounded,
    )


def _reasons(f: Findings, legs: Legs) -> list[Reason]:
    found = {reason.code: reason.count for reason in f.quality.reasons}
    extra = list(f.snapshot.notes)
    if f.design.source is None:
        extra += ["priced_from_forecast_volatility", "assumed_strikes", "no_claim_about_mispricing"]
    if f.target.slice is None:
        extra += ["no_implied_volatility", "friday_expiry_assumed"]
    extra += ["expiry_" + s.problem for s in f.slices if s.problem is not None]
    extra += ["expiry_below_the_one_before"] * sum(s.calendar_gap > 0.0 for s in f.slices)
    if any(s.spot_moved for s in f.slices):
        extra.append("spot_and_quotes_apart")
    extra += ["legs_across_ex_date"] * legs.across_ex_date
    if f.snapshot.rates.source == "default_rate":
        extra.append("default_rate")
    for code in extra:
        found[code] = found.get(code, 0) + 1
    return [Reason(code, count) for code, count in sorted(found.items())]


def _round_risk(risk: schema.Risk) -> schema.Risk:
    return schema.Risk(*map(_tidy, msgspec.structs.astuple(risk)))


def _tidy(value: Any) -> Any:
    if type(value) is float:
        return number(value)
    if type(value) is schema.Interval:
        return schema.Interval(number(value.value), number(value.low), number(value.high))
    return value


def _extended_cycles(f: Findings, facts: Facts) -> schema.ExtendedCycles:
    i, c, s, phase = f.row, f.cycles.cycles, f.cycles.spectrum, f.cycles.phase
    columns = (c.period[i].tolist(), c.p_value[i].tolist(), c.q_value[i].tolist(), f.cycles.stable[i].tolist())
    candidates = [
        schema.ExtendedCycle(number(period, 2), number(p), number(q), stable)
        for period, p, q, stable in zip(*columns, strict=True)
        if math.isfinite(period)
    ]
    angle, error = float(phase.angle[i]), float(phase.std_error[i])
    known = math.isfinite(angle) and bool(c.significant[i].any())
    band = np.isfinite(s.period[i])
    noise = numbers(np.stack([s.noise95[i][band], s.noise99[i][band]]), 5)
    return schema.ExtendedCycles(
        candidates=candidates,
        family_p=number(float(s.family_p[i])),
        phase=schema.Phase(
            number(angle) if known else None,
            number(error) if known and math.isfinite(error) else None,
            known and facts.phase_known,
        ),
        trend_t_stat=number(float(f.cycles.trend.t_stat[i]), 3),
        noise_95=noise[0],
        noise_99=noise[1],
    )


def _vol_or_none(value: float) -> float | None:
    return number(value) if math.isfinite(value) else None


def _known(values: F64) -> list[float | None]:
    """Round volatilities; None where there is none."""
    rounded: list[float | None] = np.round(values, 6).tolist()
    for i in np.flatnonzero(~np.isfinite(values)).tolist():
        rounded[i] = None
    return rounded


def _smile_parameters(s: Slice) -> schema.SmileParams:
    a, b, rho, m, width = (number(float(x[0]), 8) for x in s.svi[:5])  # type: ignore[index]
    return schema.SmileParams(a, b, rho, m, width, s.model)


def _chain(f: Findings) -> list[schema.ExpirySlice]:
    """Write every expiry that has a smile, with the riskless profits in its quotes."""
    return [_slice(s, f.snapshot, f.quality.grade) for s in f.slices if s.svi is not None]


def _slice(s: Slice, snapshot: Snapshot, grade: str) -> schema.ExpirySlice:
    assert s.svi is not None
    assert s.k is not None
    assert s.strikes_fitted is not None
    assert s.iv is not None
    assert s.iv_bid is not None
    assert s.iv_ask is not None
    assert s.iv_fit is not None
    cash = arbitrage.cash_before(snapshot, s.expiry)
    known = -math.log(max(1.0 - cash * math.exp(-0.5 * s.rate * s.tau) / s.spot, 1e-9)) / s.tau
    return schema.ExpirySlice(
        expiry=str(s.expiry),
        dte=s.dte,
        tau=number(s.tau, 8),
        sessions=s.sessions,
        grade=grade,
        forward=number(s.forward, 4),
        discount=number(s.discount, 8),
        rate=number(s.rate),
        dividend_yield=number(s.dividend),
        borrow=number(s.dividend - known),
        atm_iv=number(s.atm_iv),
        model_free_vol=number(s.model_free_vol),
        smile=_smile_parameters(s),
        fit_error=number(s.fit_error, 8),
        inside_spread=number(s.inside, 4),
        inside_svi=number(s.inside_svi, 4),
        calendar_gap=number(s.calendar_gap, 8),
        quotes=list(
            map(
                schema.SmileQuote,
                numbers(s.strikes_fitted),
                _known(s.iv_bid),
                numbers(s.iv, 6),
                _known(s.iv_ask),
                numbers(s.iv_fit, 6),
            )
        ),
        arbitrage=s.arbitrage,
    )


def _term(f: Findings) -> list[schema.TermPoint]:
    ahead = f.volatility.ahead[f.row]
    rows = [(s.expiry, s.dte, s.tau, s.sessions, s.atm_iv) for s in f.slices if s.svi is not None]
    if not rows:
        t = f.target
        rows = [(t.expiry, t.dte, t.tau, t.sessions, math.nan)]
    return [
        schema.TermPoint(
            str(expiry),
            dte,
            _vol_or_none(atm),
            number(math.sqrt(float(ahead[:sessions].sum()) * 1e-4 / tau)),
        )
        for expiry, dte, tau, sessions, atm in rows
    ]
