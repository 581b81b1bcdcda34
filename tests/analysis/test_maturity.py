"""The 30-day smile, against flat ones and against the truth of the simulated market."""

import math

import numpy as np
import pytest

from bq import schema
from bq.analysis import chain, maturity
from bq.analysis.slices import Side, Slice
from bq.market import quality
from kernels import smile

NO_QUOTES = Side(np.empty(0), np.empty(0), np.empty(0, dtype=np.int64))


def flat(days: int, vol: float) -> Slice:
    tau = days / 365.0
    s = Slice(0, np.datetime64("2026-07-01"), days, tau, days, 0.04, np.empty(0), NO_QUOTES, NO_QUOTES)
    s.svi, s.atm_iv = smile.flat(vol**2 * tau), vol
    return s


def constant(slices: list[Slice]) -> schema.ConstantMaturity:
    (found,) = maturity.interpolate([slices])
    return maturity.written(found)


def test_total_variance_is_linear_between_expiries():
    found = constant([flat(20, 0.20), flat(50, 0.30)])
    expected = math.sqrt((0.04 * 20 + (0.09 * 50 - 0.04 * 20) / 3.0) / 30.0)
    assert found.atm == pytest.approx(expected, abs=1e-6)
    assert (found.call_25, found.put_25) == pytest.approx((expected, expected), abs=1e-6)
    assert (found.risk_reversal, found.strangle, found.extrapolated) == (0.0, 0.0, False)


@pytest.mark.parametrize("days", [[40, 50], [10, 20]])
def test_on_one_side_of_all_expiries_the_nearest_stands_in_and_it_is_said(days):
    found = constant([flat(d, 0.1 + 0.001 * d) for d in days])
    nearest = min(days, key=lambda d: abs(d - 30))
    assert found.atm == pytest.approx(0.1 + 0.001 * nearest, abs=1e-6)
    assert found.extrapolated


def test_without_a_smile_there_is_none():
    assert maturity.interpolate([[], [flat(30, 0.2)]])[0] is None


def test_known_smiles_and_carry_come_back(market, snapshots):
    """The quotes of the simulated market hide a known SVI surface and dividend yields behind spreads and ticks."""
    for snapshot in snapshots[:4]:
        truth = market.chain_truth(snapshot.ticker)
        slices = chain.slices_of(0, snapshot, quality.inspect(snapshot))
        chain.read(slices)
        known = {s.expiry: s for s in truth.slices}
        for s in slices:
            true = known[s.expiry]
            assert s.problem is None
            assert s.forward == pytest.approx(true.forward, rel=1e-3)
            assert s.dividend == pytest.approx(true.dividend_yield, abs=1e-3 / s.tau)
            k = np.linspace(-1.0, 1.0, 21) * math.sqrt(true.theta)
            w = true.a + true.b * (true.rho * (k - true.m) + np.sqrt((k - true.m) ** 2 + true.s**2))
            found = np.sqrt(smile.total_variance(s.svi, k[None])[0] / s.tau)
            half = 0.5 * np.nanmedian(s.iv_ask - s.iv_bid)
            assert np.abs(found - np.sqrt(w / s.tau)).max() < max(2.0 * half, 0.003), (snapshot.ticker, s.expiry)
            assert s.inside > 0.85
            assert s.calendar_gap == 0.0
