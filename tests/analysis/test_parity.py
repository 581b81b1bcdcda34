"""The forward from put-call parity: exact where quotes are, robust where one is not, and free of early exercise."""

import numpy as np
import pytest

from bq.analysis import parity
from bq.analysis.slices import Side, Slice
from kernels import american

RATE, TAU, SIGMA, SPOT = 0.045, 40 / 365, 0.25, 100.0
STRIKE = np.arange(80.0, 121.0, 2.5)


def expiry(dividend: float, tau: float = TAU, half: float = 0.02, owner: int = 0, spot: float = SPOT) -> Slice:
    """Quote American options at their model price, `half` on each side."""
    sides = []
    for is_call in (True, False):
        mid = american.price(SPOT, STRIKE, tau, RATE, dividend, SIGMA, is_call, scheme="audit").price
        sides.append(Side(mid - half, mid + half, np.arange(STRIKE.size)))
    return Slice(owner, np.datetime64("2026-08-21"), 40, tau, 28, RATE, STRIKE, *sides, spot=spot)


@pytest.mark.parametrize("dividend", [0.0, 0.03, 0.12, -0.05])
def test_the_forward_of_american_quotes_comes_back(dividend: float) -> None:
    s = expiry(dividend)
    parity.find([s])
    true = SPOT * np.exp((RATE - dividend) * TAU)
    # 5e-4 per $100 is the error of the price that the premium comes from.
    assert s.forward == pytest.approx(true, abs=1e-3)
    assert s.dividend == pytest.approx(dividend, abs=1e-5 / TAU)
    assert (s.problem, s.pairs, s.spot_moved) == (None, parity.PAIRS, False)
    assert s.parity_spread < 1e-5
    # Ignoring the premiums is off by more than a cent where either side may be exercised.
    if dividend == 0.12:
        at = int(np.argmin(np.abs(STRIKE - SPOT)))
        plain = STRIKE[at] + (s.call.mid[at] - s.put.mid[at]) / s.discount
        assert abs(plain - true) > 0.05


def test_one_stale_quote_moves_nothing() -> None:
    clean, stale = expiry(0.02), expiry(0.02)
    at = int(np.argmin(np.abs(STRIKE - SPOT)))
    stale.call.bid[at] += 1.5
    stale.call.ask[at] += 1.5
    parity.find([clean])
    parity.find([stale])
    assert stale.forward == pytest.approx(clean.forward, abs=2e-3)


def test_a_batch_is_worked_row_by_row() -> None:
    batch = [expiry(0.01 * i, half=0.01 * (i + 1), owner=i) for i in range(5)]
    parity.find(batch)
    for i, together in enumerate(batch):
        alone = expiry(0.01 * i, half=0.01 * (i + 1))
        parity.find([alone])
        assert (alone.forward, alone.parity_spread) == (together.forward, together.parity_spread)


def test_a_spot_of_another_moment_is_found_and_said() -> None:
    late = [expiry(0.02, tau=days / 365, spot=98.5) for days in (20, 40, 60)]
    right = [expiry(0.02, tau=days / 365, owner=1) for days in (20, 40, 60)]
    parity.find([*late, *right])
    assert [s.spot_moved for s in (*late, *right)] == [True] * 3 + [False] * 3
    assert [s.spot for s in late] == pytest.approx([SPOT] * 3, abs=0.01)
    assert [s.dividend for s in late] == pytest.approx([0.02] * 3, abs=1e-3)


def test_without_a_spot_the_forward_gives_one() -> None:
    s = expiry(0.0, spot=np.nan)
    parity.find([s])
    assert s.spot == pytest.approx(SPOT, abs=0.01)
    assert s.forward == pytest.approx(SPOT * np.exp(RATE * TAU), rel=1e-4)


def test_one_pair_is_not_enough() -> None:
    s = expiry(0.0)
    s.put.bid[1:] = np.nan
    parity.find([s])
    assert s.problem == "no_parity_pairs"


def test_the_weighted_median() -> None:
    values = np.array([[3.0, 1.0, 2.0, np.nan], [5.0, 9.0, 7.0, 8.0], [1.0, 2.0, 3.0, 4.0]])
    weight = np.array([[1.0, 1.0, 1.0, 0.0], [1.0, 0.0, 5.0, 1.0], [0.0, 0.0, 0.0, 0.0]])
    np.testing.assert_array_equal(parity.weighted_median(values, weight), [2.0, 7.0, np.nan])
