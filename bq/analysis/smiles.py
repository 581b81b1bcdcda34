"""Smiles of a whole batch of expiries: fitted to de-Americanised quotes, free of static arbitrage, or refused.

SVI for each expiry, weighted by the noise of its quotes; where total variance would fall from one expiry to the next
the later one is fitted again with the earlier as its floor (Gatheral & Jacquier 2014, section 5.2); then a spline for
what five parameters miss (`kernels.smile_spline`). Few quotes get a level and a skew, by name.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from bq.analysis.slices import Slice
from bq.market.source import F64
from kernels import density, smile, smile_spline, status
from kernels.smile import Svi

LEAST_QUOTES: Final = 6  # for a smile of five parameters
CURVATURES: Final = (0.75, 1.25, 1.75, 2.5)  # of SSVI slices; liquid funds have 1.5 to 2.5
PLAIN: Final = 9  # fields of Svi before its spline
ANCHOR_NOISE: Final = 0.3
CALENDAR_POINTS: Final = 101
CALENDAR_ROUNDS: Final = 3
CALENDAR_TOLERANCE: Final = 5e-4  # of the total variance: 0.005 points of a volatility of 20 %, below any quote's noise


class _Quotes(NamedTuple):
    """Quotes of several slices, (n, m) padded with NaN."""

    k: F64
    w: F64
    low: F64
    high: F64
    weight: F64


def fit(slices: Sequence[Slice]) -> None:
    """Fit every slice that has quotes, and fill in what its smile says."""
    ready = [s for s in slices if s.problem is None and s.k is not None]
    for model in ("svi", "level_skew"):
        live = [s for s in ready if (s.k.size >= LEAST_QUOTES) == (model == "svi")]  # type: ignore[union-attr]
        if live:
            _fit(live, model)
    found = [s for s in ready if s.svi is not None]
    if not found:
        return
    _without_calendar_arbitrage(found)
    for s, share in zip(found, _inside(_quotes(found), stack(found)), strict=True):
        s.inside = s.inside_svi = float(share)
    _refine(found)
    _read_off(found)


def _quotes(live: Sequence[Slice]) -> _Quotes:
    width = max(s.k.size for s in live)  # type: ignore[union-attr]
    q = _Quotes(*(np.full((len(live), width), np.nan) for _ in range(5)))
    for i, s in enumerate(live):
        assert s.k is not None and s.iv is not None and s.iv_bid is not None and s.iv_ask is not None
        n = s.k.size
        q.k[i, :n], q.w[i, :n] = s.k, s.iv**2 * s.tau
        bid = np.where(np.isfinite(s.iv_bid), s.iv_bid, 0.0)
        q.low[i, :n], q.high[i, :n] = bid**2 * s.tau, s.iv_ask**2 * s.tau
        sd = s.iv * s.tau * np.maximum(s.iv_ask - bid, 1e-4)
        sd = np.where(np.isfinite(sd), sd, np.nanmax(sd) if np.isfinite(sd).any() else 1.0)
        q.weight[i, :n] = 1.0 / np.maximum(sd, 0.3 * np.median(sd)) ** 2
    return q


def _anchored(live: Sequence[Slice], q: _Quotes) -> tuple[F64, F64, F64]:
    """Extend the quotes by one point on each side, one quoted width out, along the slope of the outer quarter.

    Nothing else restrains a wing beyond the quotes: five parameters fit a week of SPY within 0.2 volatility points with
    a right wing at Lee's limit, whose model-free volatility is 420 %. The anchors are given an error of 30 %.
    """
    points, values = np.empty((len(live), 2)), np.empty((len(live), 2))
    for i, s in enumerate(live):
        assert s.k is not None
        order = np.argsort(s.k)
        k, w = s.k[order], q.w[i, : s.k.size][order]
        size = max(k.size // 4, 3)
        reach = k[-1] - k[0]
        left = float(np.clip(np.polyfit(k[:size], w[:size], 1)[0], -1.0, 0.0))
        right = float(np.clip(np.polyfit(k[-size:], w[-size:], 1)[0], 0.0, 1.0))
        points[i] = k[0] - reach, k[-1] + reach
        values[i] = w[0] - left * reach, w[-1] + right * reach
    weight = 1.0 / (ANCHOR_NOISE * values) ** 2
    return (
        np.concatenate([q.k, points], axis=1),
        np.concatenate([q.w, values], axis=1),
        np.concatenate([q.weight, weight], axis=1),
    )


def _fit(live: Sequence[Slice], model: str) -> None:
    q = _quotes(live)
    tau = np.array([s.tau for s in live])
    few = model == "level_skew"
    fitted = smile.fit_level_skew(q.k, q.w, q.weight, tau) if few else smile.fit(*_anchored(live, q), tau)
    for i, s in enumerate(live):
        _take(s, fitted, i, model)


def _take(s: Slice, fitted: Svi, i: int, model: str) -> None:
    """Give a slice its row of a fitted batch, or its problem."""
    row = Svi(*(np.atleast_1d(fitted[j][i]) for j in range(PLAIN)))  # type: ignore[index]
    at_money = float(smile.total_variance(row, np.zeros((1, 1)))[0, 0])
    if int(row.status[0]) not in status.FINITE or not at_money > 0.0:
        s.problem = "smile_" + status.MEANING[int(row.status[0])]
        return
    s.svi, s.model, s.fit_error = row, model, float(row.fit_error[0])


def stack(live: Sequence[Slice], splines: bool = False) -> Svi:
    """Put the slices' smiles into one batch, with or without their splines."""
    return joined([s.svi for s in live if s.svi is not None], splines)


def joined(known: Sequence[Svi], splines: bool = True) -> Svi:
    """Put smiles of one row each into one batch."""
    batch = Svi(*(np.concatenate([svi[j] for svi in known]) for j in range(PLAIN)))
    knots = [svi.knot.size for svi in known if svi.knot is not None]
    if not (splines and knots):
        return batch
    parts = [np.full((len(known), max(knots)), np.nan) for _ in range(3)]
    for i, svi in enumerate(known):
        if svi.knot is not None:
            for part, own in zip(parts, (svi.knot, svi.value, svi.curve), strict=True):
                part[i, : svi.knot.size] = own
    return batch._replace(knot=parts[0], value=parts[1], curve=parts[2])


def _steps(found: Sequence[Slice]) -> list[list[tuple[Slice | None, Slice]]]:
    """Pair every slice with the one before it: all first expiries (None), then all second ones, ..."""
    owners: dict[int, list[Slice | None]] = {}
    for s in sorted(found, key=lambda s: s.tau):
        owners.setdefault(s.owner, [None]).append(s)
    longest = max(len(own) for own in owners.values())
    return [[(own[j - 1], own[j]) for own in owners.values() if len(own) > j] for j in range(1, longest)]  # type: ignore[misc]


def _pairs(step: Sequence[tuple[Slice | None, Slice]]) -> list[tuple[Slice, Slice]]:
    return [(near, far) for near, far in step if near is not None]


def _gaps(pairs: Sequence[tuple[Slice, Slice]], splines: bool) -> tuple[F64, F64, F64]:
    """Compare expiries where both are quoted: points (n, 101), the earlier's variance, by how much the later is less.

    Beyond the quotes two extrapolations would be compared: where one was repaired it may say anything.
    """
    ends = np.array([[max(a.k[0], b.k[0]), min(a.k[-1], b.k[-1])] for a, b in pairs])  # type: ignore[index]
    points = np.linspace(ends[:, 0], ends[:, 1], CALENDAR_POINTS, axis=1)
    near = smile.total_variance(stack([a for a, _ in pairs], splines), points)
    far = smile.total_variance(stack([b for _, b in pairs], splines), points)
    return points, near, near * (1.0 + CALENDAR_TOLERANCE) - far


def _without_calendar_arbitrage(found: Sequence[Slice]) -> None:
    """Lift later slices over earlier ones, expiry by expiry; what cannot be lifted is left and told."""
    for step in map(_pairs, _steps(found)[1:]):
        for strength in 10.0 ** np.arange(1, CALENDAR_ROUNDS + 1):
            points, near, gap = _gaps(step, splines=False)
            below = np.flatnonzero((gap > CALENDAR_TOLERANCE * near).any(axis=1))
            if not below.size:
                break
            live = [step[i][1] for i in below]
            q = _quotes(live)
            k, w, weight = _anchored(live, q)
            floor = near[below] * (1.0 + 2.0 * CALENDAR_TOLERANCE)
            # A penalty on the deficit alone: the floor is fitted only where the slice lies below it.
            force = np.where(gap[below] > 0.0, strength * np.nanmax(q.weight, axis=1, keepdims=True), np.nan)
            tau = np.array([s.tau for s in live])
            fitted = smile.fit(
                np.concatenate([k, points[below]], axis=1),
                np.concatenate([w, floor], axis=1),
                np.concatenate([weight, force], axis=1),
                tau,
            )
            for i, s in enumerate(live):
                if int(fitted.status[i]) in status.FINITE:
                    _take(s, fitted, i, "svi")
                    s.lifted = True


def _refine(found: Sequence[Slice]) -> None:
    """Add splines to what meets too few quotes, expiry by expiry, each with the one before as its floor.

    A spline that yet undoes the order of the expiries by more than half a spread is taken back, unless five parameters
    meet less than half as many quotes. What stays is told (`calendar_gap`).
    """
    for step in _steps(found):
        chosen = [(near, s) for near, s in step if s.model == "svi" and s.inside_svi < smile_spline.ENOUGH]
        if chosen:
            _add_splines(chosen)
        if not (pairs := _pairs(step)):
            continue
        points, near, gap = _gaps(pairs, splines=True)
        for i, (_, s) in enumerate(pairs):
            allowed = np.maximum(CALENDAR_TOLERANCE * near[i], _half_spread(s, points[i]))
            if s.plain is not None and s.inside_svi > 0.5 * s.inside and (gap[i] > allowed).any():
                s.svi, s.plain, s.model, s.inside = s.plain, None, "svi", s.inside_svi
        _, near, gap = _gaps(pairs, splines=True)
        for i, (_, s) in enumerate(pairs):
            s.calendar_gap = float(max((gap[i] - CALENDAR_TOLERANCE * near[i]).max(), 0.0))


def _half_spread(s: Slice, points: F64) -> F64:
    """Half the width of a slice's quotes in total variance, interpolated."""
    assert s.k is not None and s.iv_bid is not None and s.iv_ask is not None
    width = (s.iv_ask**2 - np.nan_to_num(s.iv_bid) ** 2) * s.tau
    known = np.isfinite(width)
    return 0.5 * np.interp(points, s.k[known], width[known]) if known.any() else np.zeros(points.size)


def _add_splines(chosen: Sequence[tuple[Slice | None, Slice]]) -> None:
    live = [s for _, s in chosen]
    q = _quotes(live)
    raised = _over([near for near, _ in chosen], q)
    _try(live, q, smile_spline.refine(stack(live), raised.k, raised.w, raised.low, raised.high), "svi_spline")
    still = np.flatnonzero([s.inside < smile_spline.ENOUGH for s in live])
    if still.size:
        live = [live[i] for i in still]
        q, raised = (_Quotes(*(column[still] for column in table)) for table in (q, raised))
        base = _best_ssvi(q, np.array([s.tau for s in live]))
        _try(live, q, smile_spline.refine(base, raised.k, raised.w, raised.low, raised.high), "ssvi_spline")


def _over(near: Sequence[Slice | None], q: _Quotes) -> _Quotes:
    """Raise quotes that lie below the smile of the expiry before, where that one is quoted too."""
    rows = [i for i, s in enumerate(near) if s is not None]
    if not rows:
        return q
    earlier = [s for s in near if s is not None]
    floor = np.full(q.k.shape, -np.inf)
    floor[rows] = smile.total_variance(stack(earlier, splines=True), q.k[rows]) * (1.0 + 2.0 * CALENDAR_TOLERANCE)
    for i, s in zip(rows, earlier, strict=True):
        assert s.k is not None
        floor[i, ~((q.k[i] >= s.k[0]) & (q.k[i] <= s.k[-1]))] = -np.inf
    low = np.maximum(q.low, floor)
    return q._replace(w=np.maximum(q.w, floor), low=low, high=np.maximum(q.high, low))


def _try(live: Sequence[Slice], q: _Quotes, refined: Svi, model: str) -> None:
    """Take each slice's spline where with it the smile meets more of the quotes."""
    assert refined.knot is not None and refined.value is not None and refined.curve is not None
    inside = _inside(q, refined)
    for i, s in enumerate(live):
        known = np.isfinite(refined.knot[i])
        if not known.any() or inside[i] <= s.inside:
            continue
        if s.plain is None:
            s.plain = s.svi
        knot, value, curve = (c[i : i + 1, known] for c in (refined.knot, refined.value, refined.curve))
        row = Svi(*(np.atleast_1d(refined[j][i]) for j in range(PLAIN)))  # type: ignore[index]
        s.svi = row._replace(knot=knot, value=value, curve=curve)
        s.inside, s.model = float(inside[i]), model


def _best_ssvi(q: _Quotes, tau: F64) -> Svi:
    """Fit SSVI slices of several curvatures and take the nearest: far from arbitrage, so that a spline has room."""
    fits = [smile.fit_level_skew(q.k, q.w, q.weight, tau, eta) for eta in CURVATURES]
    errors = np.array([np.where(np.asarray(f.fitted_min_g) >= 0.0, f.fit_error, np.inf) for f in fits])
    best = np.argmin(errors, axis=0)
    rows = np.arange(tau.size)
    return Svi(*(np.stack([np.asarray(f[j]) for f in fits])[best, rows] for j in range(PLAIN)))


def _read_off(found: Sequence[Slice]) -> None:
    """Fill in what the smiles say: at the money, and of variance."""
    tau = np.array([s.tau for s in found])
    batch = stack(found, splines=True)
    at_money = smile.total_variance(batch, np.zeros((len(found), 1)))[:, 0]
    model_free = density.model_free_variance(batch, tau)
    for i, s in enumerate(found):
        s.atm_iv = float(np.sqrt(at_money[i] / s.tau))
        s.model_free_vol = float(np.sqrt(model_free[i]))


def _inside(q: _Quotes, svi: Svi) -> F64:
    """Share of each slice's quotes whose bid-ask interval holds the smile; a missing bid or ask bounds nothing."""
    w = smile.total_variance(svi, q.k)
    quoted = np.isfinite(q.k)
    outside = (w < q.low * (1.0 - 1e-12)) | (w > q.high * (1.0 + 1e-12))
    share: F64 = (quoted & ~outside).sum(axis=1) / quoted.sum(axis=1)
    return share
