"""The block `extended` of the full answer: everything that is new, with its evidence."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from bq import schema
from bq.analysis import candidates, chain, charts, expiries, maturity
from bq.analysis import legs as legs_
from bq.analysis.candidates import Shown
from bq.analysis.evidence import Facts
from bq.analysis.findings import Findings
from bq.analysis.identity import data_hash
from bq.analysis.legs import Legs
from bq.analysis.maturity import Interpolated
from bq.analysis.rounding import Row, cut, known, number
from bq.analysis.soundness import closes_apart
from bq.market import calendar
from bq.schema import Reason


class Parts(NamedTuple):
    """What is written for all tickers of a batch at once, of one of them; None where a number is not finite."""

    cycles: tuple[Row, ...]  # period, p and q of the candidates; the lines that noise crosses with 5 and with 1 %
    chain: list[schema.ExpirySlice] | None
    maturity: Interpolated | None  # None without a smile
    density: schema.Density
    legs: list[schema.Leg] | None
    positions: Shown | None
    payoff: schema.Payoff | None


def prepare(found: Sequence[Findings], legs: Sequence[Legs]) -> list[Parts]:
    """Write what a batch has in rows."""
    return list(
        map(
            Parts,
            _cycle_rows(found),
            expiries.write(found),
            maturity.interpolate([f.slices for f in found]),
            charts.densities(found),
            legs_.write(found, legs),
            candidates.write(found),
            legs_.payoffs(found, legs),
        )
    )


def write(
    f: Findings, legs: Legs, facts: Facts, score: schema.ScoreParts, parts: Parts, version: str
) -> schema.Extended:
    """Write the block.

    Raises
    ------
    NotFiniteError
        If a number is missing.
    """
    snapshot, positions = f.snapshot, known(parts.positions)
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
        cycles=_extended_cycles(f, facts, parts.cycles),
        chain=known(parts.chain),
        term_structure=_term(f),
        constant_maturity=None if parts.maturity is None else maturity.written(parts.maturity),
        density=parts.density,
        legs=known(parts.legs),
        risk=positions.risk,
        search=_search(f),
        candidates=positions.candidates,
        payoff=known(parts.payoff),
        score=score,
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
    extra += ["volatility_of_smile"] * legs.of_smile
    if closes_apart(f.snapshot, f.spot):
        extra.append("spot_and_closes_apart")
    if _none_in_horizon(f):
        extra.append("no_expiry_in_horizon")
    if f.snapshot.rates.source == "default_rate":
        extra.append("default_rate")
    for code in extra:
        found[code] = found.get(code, 0) + 1
    return [Reason(code, count) for code, count in sorted(found.items())]


def _none_in_horizon(f: Findings) -> bool:
    """Tell whether there is a chain, and no expiry of it that an analysis may use."""
    if f.slices or f.snapshot.chain is None:
        return False
    today = np.datetime64(calendar.local_date(f.snapshot.as_of), "D")
    return not chain.horizon_expiries(f.snapshot.chain, today).size


def _cycle_rows(found: Sequence[Findings]) -> list[tuple[Row, ...]]:
    if not found:
        return []
    at, study = [f.row for f in found], found[0].cycles
    c, s = study.cycles, study.spectrum
    listed, band = np.isfinite(c.period[at]), np.isfinite(s.period[at])
    columns = cut(c.period[at], listed, 2), cut(c.p_value[at], listed, 6), cut(c.q_value[at], listed, 6)
    return list(zip(*columns, cut(s.noise95[at], band, 5), cut(s.noise99[at], band, 5), strict=True))


def _extended_cycles(f: Findings, facts: Facts, rows: Sequence[Row]) -> schema.ExtendedCycles:
    i, c, phase = f.row, f.cycles.cycles, f.cycles.phase
    period, p_value, q_value, noise_95, noise_99 = map(known, rows)
    stable = f.cycles.stable[i][np.isfinite(c.period[i])].tolist()
    angle, error = float(phase.angle[i]), float(phase.std_error[i])
    phased = math.isfinite(angle) and bool(c.significant[i].any())
    return schema.ExtendedCycles(
        candidates=list(map(schema.ExtendedCycle, period, p_value, q_value, stable)),
        family_p=number(float(f.cycles.spectrum.family_p[i])),
        phase=schema.Phase(
            number(angle) if phased else None,
            number(error) if phased and math.isfinite(error) else None,
            phased and facts.phase_known,
        ),
        trend_t_stat=number(float(f.cycles.trend.t_stat[i]), 3),
        noise_95=noise_95,
        noise_99=noise_99,
    )


def _vol_or_none(value: float) -> float | None:
    return number(value) if math.isfinite(value) else None


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
