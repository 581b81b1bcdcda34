"""The smile of a fixed maturity between listed expiries, and the measures of skew that can be compared over time."""

import math
from collections.abc import Sequence

import numpy as np

from bq import schema
from bq.analysis.rounding import number
from bq.analysis.slices import Slice
from bq.market.source import F64
from kernels import smile

DAYS = 30
POINTS = 401
REACH = 4.0  # standard deviations
QUARTER = 0.6744897501960817  # normal quantile of 0.75: a call has a delta of 0.25 where d1 is minus this


def at_delta(k: F64, w: F64) -> tuple[float, float]:
    """Find sqrt(total variance) where an out-of-the-money call and put have a delta of 0.25 on the forward."""
    root = np.sqrt(w)
    d1 = -k / root + 0.5 * root
    return float(np.interp(QUARTER, -d1, root)), float(np.interp(-QUARTER, -d1, root))


def constant(slices: Sequence[Slice]) -> schema.ConstantMaturity | None:
    """Interpolate total variance at fixed log-moneyness, linearly in time, to 30 days.

    Where all expiries lie on one side the nearest one's volatilities stand in, and it is said. None without a smile.
    """
    own = sorted((s for s in slices if s.svi is not None), key=lambda s: s.tau)
    if not own:
        return None
    tau = DAYS / 365.0
    before, after = [s for s in own if s.tau <= tau], [s for s in own if s.tau > tau]
    near, far = (before or after[:1])[-1], (after or before[-1:])[0]
    share = 0.0 if near is far else (tau - near.tau) / (far.tau - near.tau)
    sd = math.sqrt(tau) * (near.atm_iv + share * (far.atm_iv - near.atm_iv))
    k = np.linspace(-REACH, REACH, POINTS) * sd
    first, second = (smile.total_variance(s.svi, k[None, :])[0] for s in (near, far))  # type: ignore[arg-type]
    w = first + share * (second - first) if near is not far else first * (tau / near.tau)
    call, put = (root / math.sqrt(tau) for root in at_delta(k, w))
    atm = math.sqrt(float(w[POINTS // 2]) / tau)
    return schema.ConstantMaturity(
        days=DAYS,
        atm=number(atm),
        call_25=number(call),
        put_25=number(put),
        risk_reversal=number(call - put),
        strangle=number(0.5 * (call + put) - atm),
        extrapolated=near is far,
    )
