"""The smile of a fixed maturity between listed expiries, and the measures of skew that can be compared over time."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from bq import schema
from bq.analysis import smiles
from bq.analysis.rounding import number
from bq.analysis.slices import Slice
from bq.market.source import F64
from kernels import smile

DAYS = 30
POINTS = 401
REACH = 4.0  # standard deviations
QUARTER = 0.6744897501960817  # normal quantile of 0.75: a call has a delta of 0.25 where d1 is minus this


def at_delta(k: F64, w: F64) -> F64:
    """Find sqrt(total variance) where an out-of-the-money call and put have a delta of 0.25 on the forward.

    Parameters
    ----------
    k, w : (n, m) float64
        Log-moneyness, ascending, and total variance of n smiles.

    Returns
    -------
    (n, 2) float64
        Of the call and of the put.
    """
    root = np.sqrt(w)
    d1 = -k / root + 0.5 * root
    return np.array(
        [
            (np.interp(QUARTER, falling, level), np.interp(-QUARTER, falling, level))
            for falling, level in zip(-d1, root, strict=True)
        ]
    )


class Interpolated(NamedTuple):
    """Implied volatilities 30 days ahead."""

    atm: float
    call_25: float
    put_25: float
    extrapolated: bool  # all expiries lie on one side


class _Between(NamedTuple):
    """The expiries around the maturity; where all lie on one side, the nearest one twice."""

    near: Slice
    far: Slice
    share: float  # of the way from near to far


def interpolate(groups: Sequence[Sequence[Slice]]) -> list[Interpolated | None]:
    """Interpolate total variance at fixed log-moneyness, linearly in time, to 30 days: for each ticker's slices.

    Where all expiries lie on one side the nearest one's volatilities stand in, and it is said. None without a smile.
    """
    tau = DAYS / 365.0
    places = [_between([s for s in slices if s.svi is not None], tau) for slices in groups]
    known = [b for b in places if b is not None]
    if not known:
        return [None] * len(places)
    share = np.array([b.share for b in known])
    vols = np.array([(b.near.atm_iv, b.far.atm_iv) for b in known])
    sd = math.sqrt(tau) * (vols[:, 0] + share * (vols[:, 1] - vols[:, 0]))
    k = np.linspace(-REACH, REACH, POINTS) * sd[:, None]
    first, second = (
        smile.total_variance(smiles.stack(slices, splines=True), k)
        for slices in ([b.near for b in known], [b.far for b in known])
    )
    alone = np.array([b.near is b.far for b in known])
    grown = tau / np.array([b.near.tau for b in known])
    w = np.where(alone[:, None], first * grown[:, None], first + share[:, None] * (second - first))
    levels = np.concatenate([np.sqrt(w[:, POINTS // 2, None] / tau), at_delta(k, w) / math.sqrt(tau)], axis=1)
    found = map(Interpolated, *levels.T.tolist(), alone.tolist())
    return [None if b is None else next(found) for b in places]


def _between(own: Sequence[Slice], tau: float) -> _Between | None:
    if not own:
        return None
    ordered = sorted(own, key=lambda s: s.tau)
    before, after = [s for s in ordered if s.tau <= tau], [s for s in ordered if s.tau > tau]
    near, far = (before or after[:1])[-1], (after or before[-1:])[0]
    return _Between(near, far, 0.0 if near is far else (tau - near.tau) / (far.tau - near.tau))


def written(found: Interpolated) -> schema.ConstantMaturity:
    """Write the volatilities and the measures of skew made from them."""
    atm, call, put = found.atm, found.call_25, found.put_25
    return schema.ConstantMaturity(
        days=DAYS,
        atm=number(atm),
        call_25=number(call),
        put_25=number(put),
        risk_reversal=number(call - put),
        strangle=number(0.5 * (call + put) - atm),
        extrapolated=found.extrapolated,
    )
