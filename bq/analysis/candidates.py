"""Positions and what can come of them, as the full answer shows them: for all of a batch at once."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from bq import schema
from bq.analysis.findings import Findings
from bq.analysis.legs import occ_symbol
from bq.analysis.position import LEGS
from bq.analysis.rounding import Row, table
from bq.analysis.search import Choice


class Shown(NamedTuple):
    """One ticker's."""

    risk: schema.Risk  # of its trade
    candidates: list[schema.Candidate]  # of its search


def write(found: Sequence[Findings]) -> list[Shown | None]:
    """Write the risk of each ticker's trade, and the candidates of its search; None where a number is not finite."""
    risks = iter(rounded([r for f in found for r in (f.risk, *(risk for _, risk in f.candidates[1:]))]))
    rows = iter(table([_numbers(choice) for f in found for choice, _ in f.candidates], _DIGITS))
    written: list[Shown | None] = []
    for f in found:
        own = [next(risks) for _ in range(max(len(f.candidates), 1))]
        listed = [
            _candidate(f.snapshot.ticker, choice, numbers, risk)
            for (choice, _), risk, numbers in zip(f.candidates, own, rows, strict=False)
        ]
        first = own[0]
        written.append(None if first is None or None in listed else Shown(first, listed))  # type: ignore[arg-type]
    return written


_DIGITS: Final = (4, 4, 4, 6, 6, 6, 4, 4, 6, 6)


def _numbers(choice: Choice) -> tuple[float | None, ...]:
    p = choice.design.position
    loss = p.max_loss
    return (
        p.lower,
        p.center,
        p.upper,
        p.debit,
        p.max_profit,
        loss,
        p.breakeven_lower,
        p.breakeven_upper,
        p.half_spreads / loss,
        choice.score,
    )


def _candidate(ticker: str, choice: Choice, numbers: Row, risk: schema.Risk | None) -> schema.Candidate | None:
    if numbers is None or risk is None:
        return None
    form, expiry = choice.design.position.form, str(choice.design.expiry)
    strikes, (cost, max_profit, max_loss, below, above, spread, score) = numbers[:3], numbers[3:]
    return schema.Candidate(
        expiry=expiry,
        form=form,
        lower_strike=strikes[0],
        center_strike=strikes[1],
        upper_strike=strikes[2],
        cost=cost,
        max_profit=max_profit,
        max_loss=max_loss,
        breakeven_lower=below,
        breakeven_upper=above,
        pop_market=None if risk.pop_market is None else risk.pop_market.value,
        pop_forecast=risk.pop_forecast.value,
        pop_empirical=None if risk.pop_empirical is None else risk.pop_empirical.value,
        ev_market=risk.ev_market,
        ev_forecast=risk.ev_forecast,
        ev_empirical=risk.ev_empirical,
        ev_worst=risk.ev_worst,
        spread_share=spread,
        score=score,
        legs=[f"{leg.quantity}x {occ_symbol(ticker, expiry, leg.is_call, strikes[leg.strike])}" for leg in LEGS[form]],
        risk=risk,
    )


def rounded(risks: Sequence[schema.Risk]) -> list[schema.Risk | None]:
    """Round what can come of positions; None where a number is not finite."""
    rows = table(list(map(_flat, risks)), [6] * _FLAT)
    return [None if row is None else _risk(row, risk) for row, risk in zip(rows, risks, strict=True)]


_FLAT: Final = 24


def _flat(r: schema.Risk) -> tuple[float | None, ...]:
    return (
        *_ends(r.pop_market),
        *_ends(r.pop_forecast),
        *_ends(r.pop_empirical),
        r.ev_market,
        r.ev_forecast,
        r.ev_empirical,
        r.ev_worst,
        r.ev_shrunk,
        r.ev_bound,
        r.std_error,
        r.cvar_95,
        r.prob_max_loss,
        r.touch_center,
        r.touch_lower,
        r.touch_upper,
        r.kelly_fraction,
        r.pin_risk,
        r.saving_vs_others,
    )


def _ends(interval: schema.Interval | None) -> tuple[float | None, float | None, float | None]:
    return (None, None, None) if interval is None else (interval.value, interval.low, interval.high)


def _risk(flat: Sequence[float], of: schema.Risk) -> schema.Risk:
    """Put rounded numbers back in the places of `_flat`."""
    *numbers, kelly, pin, saving = flat[9:]
    return schema.Risk(
        None if of.pop_market is None else schema.Interval(*flat[:3]),
        schema.Interval(*flat[3:6]),
        None if of.pop_empirical is None else schema.Interval(*flat[6:9]),
        *numbers,  # type: ignore[arg-type, call-arg]
        kelly,
        of.assignment_flags,
        pin,
        of.cheapest_form,
        saving,
    )
