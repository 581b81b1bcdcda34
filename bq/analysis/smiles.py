"""Smiles of a whole batch of expiries: fitted to de-Americanised quotes, free of static arbitrage, or refused.

SVI for each expiry, weighted by the noise of its quotes; where total variance would fall from one expiry to the next
the later one is fitted again with the earlier as its floor (Gatheral & Jacquier 2014, section 5.2); then a spline for
what five parameters miss (`kernels.smile_spline`). Few quotes get a level and a skew, by name.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from bq.analysis.slices import Slice
from bq.market.source import F64, Bool
from kernels import density, smile, smile_spline, status
from kernels.smile import Svi

LEAST_QUOTES: Final = 6  # for a smile of five parameters
CURVATURES: Final = (0.75, 1.25, 1.75, 2.5)  # of SSVI slices; liquid funds have 1.5 to 2.5
PLAIN: Final = 9  # fields of Svi before its spline
ANCHOR_NOISE: Final = 0.3
NEAR: Final = (1.0,)  # where anchors stand, in quoted widths beyond the quotes
FAR: Final = (1.0, 3.0, 9.0)
LEAST_NOISE: Final = 0.3  # of the median of its slice: no single quote outweighs all others
MOST_ERROR: Final = 0.5
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
    if not ready:
        return
    quotes = _quotes(ready)
    few = np.isfinite(quotes.k).sum(axis=1) < LEAST_QUOTES
    for model, rows in (("svi", np.flatnonzero(~few)), ("level_skew", np.flatnonzero(few))):
        if rows.size:
            _fit([ready[i] for i in rows], _rows(quotes, rows), model)
    kept = [i for i, s in enumerate(ready) if s.svi is not None]
    if not kept:
        return
    found, quotes = [ready[i] for i in kept], _rows(quotes, np.array(kept))
    _without_calendar_arbitrage(found, quotes)
    for s, share in zip(found, _inside(quotes, stack(found)).tolist(), strict=True):
        s.inside = s.inside_svi = share
    _refine(found, quotes)
    _read_off(found, quotes)


def _rows(q: _Quotes, rows: npt.NDArray[np.int64]) -> _Quotes:
    return _Quotes(*(column[rows] for column in q))


def _quotes(live: Sequence[Slice]) -> _Quotes:
    width = max(s.k.size for s in live)  # type: ignore[union-attr]
    k, iv, bid, ask = np.full((4, len(live), width), np.nan)
    for i, s in enumerate(live):
        n = s.k.size  # type: ignore[union-attr]
        k[i, :n], iv[i, :n], bid[i, :n], ask[i, :n] = s.k, s.iv, s.iv_bid, s.iv_ask
    tau = np.array([s.tau for s in live])[:, None]
    quoted = np.isfinite(k)
    bid = np.where(quoted & ~np.isfinite(bid), 0.0, bid)
    sd = iv * tau * np.maximum(ask - bid, 1e-4)
    worst = np.where(np.isfinite(sd), sd, -np.inf).max(axis=1, keepdims=True)
    sd = np.where(quoted & ~np.isfinite(sd), np.where(worst > 0.0, worst, 1.0), sd)
    weight = 1.0 / np.maximum(sd, LEAST_NOISE * _median(sd)[:, None]) ** 2
    return _Quotes(k, iv**2 * tau, bid**2 * tau, ask**2 * tau, weight)


def _median(values: F64) -> F64:
    """Find the median of each row without its NaNs, (n,); numpy's own goes through the rows in Python."""
    ordered = np.sort(values, axis=1)  # NaN last
    count = np.isfinite(values).sum(axis=1)
    row = np.arange(len(values))
    lower, upper = np.maximum(count - 1, 0) // 2, np.minimum(count // 2, values.shape[1] - 1)
    found: F64 = 0.5 * (ordered[row, lower] + ordered[row, upper])
    return found


def _slope(x: F64, y: F64, used: Bool) -> F64:
    """Give the slope of the least-squares line through the used points of each row, (n,)."""
    n = used.sum(axis=1)
    x, y = np.where(used, x, 0.0), np.where(used, y, 0.0)
    x = np.where(used, x - (_sums(x) / n)[:, None], 0.0)
    return _sums(x * y) / _sums(x * x)


def _sums(values: F64) -> F64:
    """Sum each row from left to right: numpy's sum pairs by width, so that padding would move the last bit."""
    return np.cumsum(values, axis=1)[:, -1]


def _anchored(q: _Quotes, widths: Sequence[float]) -> tuple[F64, F64, F64]:
    """Extend the quotes by points on each side, so many quoted widths out, along the slope of the outer quarter.

    Nothing else restrains a wing beyond the quotes: five parameters fit a week of SPY within 0.2 volatility points with
    a right wing at Lee's limit, whose model-free volatility is 420 %. The anchors are given an error of 30 %.
    """
    count = np.isfinite(q.k).sum(axis=1)[:, None]
    place = np.arange(q.k.shape[1])
    outer = np.maximum(count // 4, 3)
    left = np.clip(_slope(q.k, q.w, place < outer), -1.0, 0.0)
    right = np.clip(_slope(q.k, q.w, (place >= count - outer) & (place < count)), 0.0, 1.0)
    outermost = np.arange(len(count)), count[:, 0] - 1
    first, last = q.k[:, 0], q.k[outermost]
    reach = (last - first)[:, None] * np.array(widths)
    points = np.concatenate([first[:, None] - reach, last[:, None] + reach], axis=1)
    ends = q.w[:, :1], q.w[outermost][:, None]
    values = np.concatenate([ends[0] - left[:, None] * reach, ends[1] + right[:, None] * reach], axis=1)
    weight = 1.0 / (ANCHOR_NOISE * values) ** 2
    return (
        np.concatenate([q.k, points], axis=1),
        np.concatenate([q.w, values], axis=1),
        np.concatenate([q.weight, weight], axis=1),
    )


def _fit(live: Sequence[Slice], q: _Quotes, model: str) -> None:
    tau = np.array([s.tau for s in live])
    few = model == "level_skew"
    _take(live, smile.fit_level_skew(q.k, q.w, q.weight, tau) if few else _five_parameters(q, tau), model)


def _five_parameters(q: _Quotes, tau: F64, floor: tuple[F64, F64, F64] | None = None) -> Svi:
    """Fit SVI, held by anchors; where its wings run away all the same, by anchors farther out too.

    Variance expected over the whole smile is a mean of it: above that of every quote, the wings that nobody quotes say
    so alone. One width out holds no wing that turns up beyond: QQQ two weeks before expiry, fitted to a tenth of a
    volatility point, came to 105 % so, where the expiries around it are at 19 %.

    Parameters
    ----------
    floor : three (n, p) float64, optional
        Further points: log-moneyness, total variance, weight.
    """

    def fitted(rows: npt.NDArray[np.int64], widths: Sequence[float]) -> Svi:
        k, w, weight = _anchored(_rows(q, rows), widths)
        if floor is not None:
            k, w, weight = (np.concatenate([a, b[rows]], axis=1) for a, b in zip((k, w, weight), floor, strict=True))
        return smile.fit(k, w, weight, tau[rows])

    found = fitted(np.arange(tau.size), NEAR)
    whole = density.model_free_variance(found, tau) * tau
    away = np.flatnonzero(whole > np.nanmax(q.w, axis=1))
    if away.size:
        again = fitted(away, FAR)
        for j in range(PLAIN):
            found[j][away] = again[j]  # type: ignore[index, assignment]
    return found


def _take(live: Sequence[Slice], fitted: Svi, model: str) -> None:
    """Give each slice its row of a fitted batch, or its problem."""
    at_money = smile.total_variance(fitted, np.zeros((len(live), 1)))[:, 0]
    good = status.is_finite(fitted.status) & (at_money > 0.0)
    for i, s in enumerate(live):
        if good[i]:
            s.svi, s.model, s.fit_error = _row(fitted, i), model, float(fitted.fit_error[i])
        else:
            s.problem = "smile_" + status.MEANING[int(fitted.status[i])]


def _row(svi: Svi, i: int) -> Svi:
    """Take one slice of a batch without its spline."""
    return Svi(*(svi[j][i : i + 1] for j in range(PLAIN)))  # type: ignore[index, arg-type]


def stack(live: Sequence[Slice], splines: bool = False) -> Svi:
    """Put the slices' smiles into one batch, with or without their splines."""
    return joined([s.svi for s in live if s.svi is not None], splines)


def joined(known: Sequence[Svi], splines: bool = True) -> Svi:
    """Put smiles of one row each into one batch."""
    # One copy of all fields, not nine: of a few smiles each costs as much. The status is no float; it is turned back.
    flat = np.concatenate([field for svi in known for field in svi[:PLAIN]], dtype=np.float64)
    fields = np.ascontiguousarray(flat.reshape(len(known), PLAIN).T)
    batch = Svi(*fields)._replace(status=fields[Svi._fields.index("status")].astype(np.int8))
    knots = [svi.knot.size for svi in known if svi.knot is not None]
    if not (splines and knots):
        return batch
    parts = [np.full((len(known), max(knots)), np.nan) for _ in range(3)]
    for i, svi in enumerate(known):
        if svi.knot is not None:
            for part, own in zip(parts, (svi.knot, svi.value, svi.curve), strict=True):
                part[i, : svi.knot.size] = own
    return batch._replace(knot=parts[0], value=parts[1], curve=parts[2])


def _steps(found: Sequence[Slice]) -> list[list[tuple[int | None, int]]]:
    """Pair every slice (by number) with the one before it: all first expiries (None), then all second ones, ..."""
    owners: dict[int, list[int | None]] = {}
    for i in sorted(range(len(found)), key=lambda i: found[i].tau):
        owners.setdefault(found[i].owner, [None]).append(i)
    longest = max(len(own) for own in owners.values())
    return [[(own[j - 1], own[j]) for own in owners.values() if len(own) > j] for j in range(1, longest)]  # type: ignore[misc]


def _gaps(pairs: Sequence[tuple[Slice, Slice]], splines: bool) -> tuple[F64, F64, F64]:
    """Compare expiries where both are quoted: points (n, 101), the earlier's variance, by how much the later is less.

    Beyond the quotes two extrapolations would be compared: where one was repaired it may say anything.
    """
    ends = np.array([[max(a.k[0], b.k[0]), min(a.k[-1], b.k[-1])] for a, b in pairs])  # type: ignore[index]
    first, last = ends[:, :1], ends[:, 1:]
    points = np.arange(CALENDAR_POINTS) * ((last - first) / (CALENDAR_POINTS - 1)) + first
    points[:, -1:] = last
    near = smile.total_variance(stack([a for a, _ in pairs], splines), points)
    far = smile.total_variance(stack([b for _, b in pairs], splines), points)
    return points, near, near * (1.0 + CALENDAR_TOLERANCE) - far


def _without_calendar_arbitrage(found: Sequence[Slice], quotes: _Quotes) -> None:
    """Lift later slices over earlier ones, expiry by expiry; what cannot be lifted is left and told."""
    for step in _steps(found)[1:]:
        near_rows, far_rows = np.array(step, dtype=np.int64).T
        for strength in 10.0 ** np.arange(1, CALENDAR_ROUNDS + 1):
            points, near, gap = _gaps([(found[a], found[b]) for a, b in zip(near_rows, far_rows, strict=True)], False)
            below = np.flatnonzero((gap > CALENDAR_TOLERANCE * near).any(axis=1))
            if not below.size:
                break
            live = [found[i] for i in far_rows[below]]
            q = _rows(quotes, far_rows[below])
            floor = near[below] * (1.0 + 2.0 * CALENDAR_TOLERANCE)
            # A penalty on the deficit alone: the floor is fitted only where the slice lies below it.
            force = np.where(gap[below] > 0.0, strength * np.nanmax(q.weight, axis=1, keepdims=True), np.nan)
            fitted = _five_parameters(q, np.array([s.tau for s in live]), (points[below], floor, force))
            for i, s in enumerate(live):
                if int(fitted.status[i]) in status.FINITE:
                    s.svi, s.fit_error, s.lifted = _row(fitted, i), float(fitted.fit_error[i]), True


def _refine(found: Sequence[Slice], quotes: _Quotes) -> None:
    """Add splines to what meets too few quotes, expiry by expiry, each with the one before as its floor.

    A spline that yet undoes the order of the expiries by more than half a spread is taken back, unless five parameters
    meet less than half as many quotes. What stays is told (`calendar_gap`).
    """
    for step in _steps(found):
        chosen = [
            (near, i) for near, i in step if found[i].model == "svi" and found[i].inside_svi < smile_spline.ENOUGH
        ]
        if chosen:
            before = [None if near is None else found[near] for near, _ in chosen]
            rows = [i for _, i in chosen]
            _add_splines([found[i] for i in rows], before, _rows(quotes, np.array(rows)))
        pairs = [(found[near], found[i]) for near, i in step if near is not None]
        if not pairs:
            continue
        points, near, gap = _gaps(pairs, splines=True)
        undone = False
        for i, (_, s) in enumerate(pairs):
            if s.plain is None or s.inside_svi <= 0.5 * s.inside:
                continue
            allowed = np.maximum(CALENDAR_TOLERANCE * near[i], _half_spread(s, points[i]))
            if (gap[i] > allowed).any():
                s.svi, s.plain, s.model, s.inside = s.plain, None, "svi", s.inside_svi
                undone = True
        if undone:
            _, near, gap = _gaps(pairs, splines=True)
        worst = np.maximum((gap - CALENDAR_TOLERANCE * near).max(axis=1), 0.0)
        for (_, s), below in zip(pairs, worst.tolist(), strict=True):
            s.calendar_gap = below


def _half_spread(s: Slice, points: F64) -> F64:
    """Half the width of a slice's quotes in total variance, interpolated."""
    assert s.k is not None and s.iv_bid is not None and s.iv_ask is not None
    width = (s.iv_ask**2 - np.nan_to_num(s.iv_bid) ** 2) * s.tau
    known = np.isfinite(width)
    return 0.5 * np.interp(points, s.k[known], width[known]) if known.any() else np.zeros(points.size)


def _add_splines(live: Sequence[Slice], before: Sequence[Slice | None], q: _Quotes) -> None:
    raised = _over(before, q)
    _try(live, q, smile_spline.refine(stack(live), raised.k, raised.w, raised.low, raised.high), "svi_spline")
    still = np.flatnonzero([s.inside < smile_spline.ENOUGH for s in live])
    if still.size:
        live = [live[i] for i in still.tolist()]
        q, raised = _rows(q, still), _rows(raised, still)
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
        s.svi = _row(refined, i)._replace(knot=knot, value=value, curve=curve)
        s.inside, s.model = float(inside[i]), model


def _best_ssvi(q: _Quotes, tau: F64) -> Svi:
    """Fit SSVI slices of several curvatures and take the nearest: far from arbitrage, so that a spline has room."""
    fits = [smile.fit_level_skew(q.k, q.w, q.weight, tau, eta) for eta in CURVATURES]
    errors = np.array([np.where(np.asarray(f.fitted_min_g) >= 0.0, f.fit_error, np.inf) for f in fits])
    best = np.argmin(errors, axis=0)
    rows = np.arange(tau.size)
    return Svi(*(np.stack([np.asarray(f[j]) for f in fits])[best, rows] for j in range(PLAIN)))


def _read_off(found: Sequence[Slice], q: _Quotes) -> None:
    """Fill in what the smiles say: at the money, of variance, of each quote, and how far a volatility may be off."""
    tau = np.array([s.tau for s in found])
    batch = stack(found, splines=True)
    at_money = np.sqrt(smile.total_variance(batch, np.zeros((len(found), 1)))[:, 0] / tau)
    model_free = np.sqrt(density.model_free_variance(batch, tau))
    fitted = smile.total_variance(batch, q.k)
    errors = _errors(q, fitted)
    vols = np.sqrt(fitted / tau[:, None])
    for i, s in enumerate(found):
        s.atm_iv, s.model_free_vol, s.iv_error = float(at_money[i]), float(model_free[i]), float(errors[i])
        s.iv_fit = vols[i, : s.k.size]  # type: ignore[union-attr]


def _errors(q: _Quotes, fitted: F64) -> F64:
    """Give each smile the relative standard error of its volatilities, (n,): noise of the quotes, and misfit.

    Noise is half a spread a quote, over the root of their number: the level is a mean of them all. Misfit is how far
    the smile lies outside of the intervals, rms: that is the curve's form, and no number of quotes averages it out.
    """
    count = np.isfinite(q.k).sum(axis=1)
    vol, low, high, own = np.sqrt(q.w), np.sqrt(q.low), np.sqrt(q.high), np.sqrt(fitted)
    noise = _median(0.5 * (high - low) / vol) / np.sqrt(count)
    off = np.fmax(np.fmax(low - own, own - high), 0.0) / vol
    misfit = np.sqrt(_sums(np.where(np.isfinite(off), off, 0.0) ** 2) / count)
    return np.minimum(np.hypot(np.where(np.isfinite(noise), noise, 0.0), misfit), MOST_ERROR)


def _inside(q: _Quotes, svi: Svi) -> F64:
    """Share of each slice's quotes whose bid-ask interval holds the smile; a missing bid or ask bounds nothing."""
    w = smile.total_variance(svi, q.k)
    quoted = np.isfinite(q.k)
    outside = (w < q.low * (1.0 - 1e-12)) | (w > q.high * (1.0 + 1e-12))
    share: F64 = (quoted & ~outside).sum(axis=1) / quoted.sum(axis=1)
    return share
