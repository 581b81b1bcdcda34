"""What a smile is given as its error, and how well the simulated market's truth comes back from its quotes."""

import numpy as np
import pytest

from bq.analysis import chain, engine, smiles
from bq.analysis.measures import Market
from bq.analysis.slices import Side, Slice
from bq.market import quality
from bq.schema import Analysis
from kernels import density, smile
from kernels.smile import Svi

NO_QUOTES = Side(np.empty(0), np.empty(0), np.empty(0, dtype=np.int64))
SHAPE = Svi(*(np.array([v]) for v in (0.001, 0.02, -0.3, 0.0, 0.08, 0.0, 1.0)), np.zeros(1, np.int8))
TAU = 30 / 365


def quoted(off: np.ndarray, half: float) -> Slice:
    """Quotes around a known smile, moved by `off` and `half` wide on each side, both relative."""
    k = np.linspace(-0.2, 0.15, off.size)
    vol = np.sqrt(smile.total_variance(SHAPE, k[None])[0] / TAU) * (1.0 + off)
    s = Slice(0, np.datetime64("2026-07-31"), 30, TAU, 21, 0.04, 100.0 * np.exp(k), NO_QUOTES, NO_QUOTES, spot=100.0)
    s.forward, s.k, s.strikes_fitted, s.iv = 100.0, k, s.strike, vol
    s.iv_bid, s.iv_ask = vol * (1.0 - half), vol * (1.0 + half)
    return s


def test_the_error_of_a_smile_that_fits_is_the_noise_of_its_quotes() -> None:
    s = quoted(np.zeros(40), 0.01)
    smiles.fit([s])
    assert s.inside == 1.0
    assert s.iv_error == pytest.approx(0.01 / np.sqrt(40), rel=1e-6)


def test_misfit_is_error_however_many_quotes_there_are() -> None:
    """Neighbours that contradict each other by 2 % leave a curve 1 % off everywhere, or 2 % at every other one."""
    errors = []
    for n in (40, 160):
        s = quoted(0.01 * (-1.0) ** np.arange(n), 0.001)
        smiles.fit([s])
        assert s.inside < 0.2
        assert s.iv_fit is not None
        assert s.iv is not None
        misfit = np.sqrt(np.mean(np.maximum(np.abs(s.iv_fit / s.iv - 1.0) - 0.001, 0.0) ** 2))
        assert s.iv_error == pytest.approx(np.hypot(0.001 / np.sqrt(n), misfit), rel=1e-6)
        errors.append(s.iv_error)
    assert min(errors) > 0.0085
    assert max(errors) < 0.0195 / np.sqrt(2.0) + 0.001
    assert errors[1] == pytest.approx(errors[0], rel=0.1)


def test_moving_the_level_moves_the_spline_too() -> None:
    s = quoted(0.01 * np.sin(np.linspace(0.0, 14.0, 60)), 0.001)
    smiles.fit([s])
    assert s.svi is not None
    assert s.svi.knot is not None
    strike = s.strike[::7]
    k = np.log(strike / s.forward)[None]
    for factor in (0.8, 1.0, 1.3):
        flat = smile.flat(np.full(k.size, factor) * smile.total_variance(s.svi, k)[0])
        wanted = density.put_value(flat, k.T)[:, 0] * s.forward
        found = Market(s.svi, s.forward).scaled(factor).put_value(strike)
        np.testing.assert_allclose(found, wanted, rtol=1e-12)


# strike, and volatilities of bid, mid and ask: three weeks to expiry, forward 140.3929, nothing unusual in them
THREE_WEEKS = (
    (115.0, 0.294317, 0.350573, 0.379963),
    (117.5, 0.286366, 0.333804, 0.361827),
    (120.0, 0.288092, 0.319996, 0.342866),
    (127.5, 0.266306, 0.284127, 0.300105),
    (130.0, 0.260290, 0.273895, 0.286702),
    (132.5, 0.250262, 0.261829, 0.273013),
    (135.0, 0.242438, 0.252205, 0.261830),
    (137.5, 0.231649, 0.240086, 0.248488),
    (140.0, 0.222612, 0.231554, 0.240495),
    (142.5, 0.212709, 0.220796, 0.228862),
    (145.0, 0.203231, 0.212582, 0.221785),
    (147.5, 0.192038, 0.203457, 0.214305),
)


def test_wings_that_nobody_quotes_do_not_make_the_variance() -> None:
    """Variance over the whole smile is a mean of it: 66 % from quotes of 20 to 35 % is an invention of the wings."""
    strike, bid, mid, ask = np.array(THREE_WEEKS).T
    s = Slice(0, np.datetime64("2026-12-18"), 23, 0.0630137, 16, 0.043, strike, NO_QUOTES, NO_QUOTES, spot=140.0)
    s.forward, s.strikes_fitted = 140.3929, strike
    s.k, s.iv, s.iv_bid, s.iv_ask = np.log(strike / s.forward), mid, bid, ask
    smiles.fit([s])
    assert s.inside == 1.0
    assert s.atm_iv < s.model_free_vol < 1.1 * s.atm_iv


def test_a_slice_does_not_notice_its_batch() -> None:
    wide, narrow = quoted(np.zeros(131), 0.01), quoted(0.01 * np.sin(np.linspace(0.0, 14.0, 57)), 0.001)
    narrow.owner = 1
    smiles.fit([wide, narrow])
    alone = quoted(0.01 * np.sin(np.linspace(0.0, 14.0, 57)), 0.001)
    smiles.fit([alone])
    for name in ("atm_iv", "model_free_vol", "iv_error", "inside", "fit_error", "model"):
        assert getattr(narrow, name) == getattr(alone, name)
    np.testing.assert_array_equal(narrow.iv_fit, alone.iv_fit)


NAMES = [f"SIM{i:03d}" for i in range(1, 41)]


def test_forwards_dividends_and_smiles_of_the_sample_market_come_back(market) -> None:  # type: ignore[no-untyped-def]
    """In units of what the quotes can tell: half a spread at the money."""
    forwards, levels = [], []
    for snapshot in market.fetch(NAMES):
        slices = chain.slices_of(0, snapshot, quality.inspect(snapshot))
        chain.read(slices)
        known = {t.expiry: t for t in market.chain_truth(snapshot.ticker).slices}
        for s in slices:
            assert s.problem is None, (snapshot.ticker, s.expiry)
            true = known[s.expiry]
            near = np.argsort(np.abs(s.strike - s.forward))[:8]
            half = 0.5 * float(np.nanmedian((s.call.ask - s.call.bid + s.put.ask - s.put.bid)[near]))
            forwards.append((s.forward - true.forward) * s.discount / half)
            # The same error in the carry: what the forward leaves open, over the time.
            assert (s.dividend - true.dividend_yield) * s.tau == pytest.approx(-np.log(s.forward / true.forward))
            own = s.iv_error * s.atm_iv
            levels.append((s.atm_iv - np.sqrt(true.theta / s.tau)) / own)
    assert len(forwards) >= 150
    assert np.abs(np.mean(forwards)) < 0.05
    assert np.sqrt(np.mean(np.square(forwards))) < 0.25
    assert np.abs(forwards).max() < 1.0
    assert np.abs(np.mean(levels)) < 0.3
    assert np.mean(np.abs(levels) < 1.96) > 0.9


def test_the_sample_market_has_no_borrow(market) -> None:  # type: ignore[no-untyped-def]
    """What the implied carry says beyond the known dividends, in dollars until the expiry, is noise of the forward."""
    snapshots = market.fetch(NAMES[:20])
    for snapshot, a in zip(snapshots, engine.analyze(snapshots), strict=True):
        assert isinstance(a, Analysis)
        known = {str(t.expiry): t for t in market.chain_truth(snapshot.ticker).slices}
        for c in a.extended.chain:
            off = abs(np.log(c.forward / known[c.expiry].forward)) / c.tau
            # The dividend is taken half-way to the expiry: interest on it for half of the time.
            assert abs(c.borrow) < off + 0.001, (snapshot.ticker, c.expiry)
