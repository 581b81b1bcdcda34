"""What a butterfly search is given: quotes, measures and limits, checked and laid out as arrays of (n, m).

The doors are in `kernels.butterfly`, which hands these types on.
"""

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from kernels._arrays import F64, I64, Bool
from kernels.butterfly_lanes import MAX_STRIKES

_MOST: Final = 1e100
"""No amount of money is larger: beyond, sums and squares overflow, and a score that is NaN has no place in a list."""

FORMS: Final = ("call", "put", "iron")
"""What the numbers in `Butterflies.form` mean."""


class Quotes(NamedTuple):
    """An option chain, one row an expiry, `(n, m)` in increasing strikes padded with NaN, per share.

    A NaN or unusable quote excludes that leg only.
    """

    strike: npt.ArrayLike
    call_bid: npt.ArrayLike
    call_ask: npt.ArrayLike
    put_bid: npt.ArrayLike
    put_ask: npt.ArrayLike


class Measures(NamedTuple):
    """What J distributions of the share at expiry say, tabulated (see `kernels.terminal`).

    A measure that a row does not have is NaN throughout that row.
    """

    put_value: npt.ArrayLike
    """(J, n, m): E[max(K - S, 0)], undiscounted, at the strikes of the chain."""
    cdf: npt.ArrayLike
    """(J, n, p): P(S <= x) on the row's uniform grid, which all measures share, not falling; p = 2049 reaches 1e-6."""
    grid_low: npt.ArrayLike
    """(n,): the first point of the grid; below it the distribution function is taken to stay at its first value."""
    grid_step: npt.ArrayLike
    """(n,): distance of the points, above 0."""
    put_shift: npt.ArrayLike | None = None
    """(F, J, n, m): change of put_value when one source of error (volatility, drift) moves by one standard error."""
    put_square: npt.ArrayLike | None = None
    """(J, n, m): E[max(K - S, 0)**2]; without it the standard deviation of the P&L is unknown (NaN)."""
    paths: npt.ArrayLike | None = None
    """(J,) or (J, n): independent draws behind a simulated measure (its error needs put_square); inf for a formula."""
    smile_value: npt.ArrayLike | None = None
    """(n, m): E[max(K - S, 0)] by the smile through the quotes. What the middle of a butterfly's quotes costs less than
    that is luck with a quote, or a mistake, and is taken off its lower bound. NaN throughout a row: nothing is."""


class Limits(NamedTuple):
    """What a butterfly must fulfil before it is ranked."""

    spread_share: float = 0.25
    """A leg is usable if ask - bid is at most this share of their mean, or at most `spread_floor`."""
    spread_floor: float = 0.10
    """Currency per share."""
    loss_in_fees: float = 2.0
    """The maximum loss is at least this many times the entry's fees."""
    reward_share: float = 0.0
    """The maximum profit is at least this share of the maximum loss."""
    pop_low: float = 0.05
    """The least probability of profit among the measures lies between these."""
    pop_high: float = 0.95
    errors: float = 1.0
    """Standard errors that the lower bound of an expected value lies below it."""


class Book(NamedTuple):
    """Checked quotes, (n, m): what each leg can be bought and sold for; fees of a whole butterfly."""

    strike: F64
    buy_call: F64
    sell_call: F64
    buy_put: F64
    sell_put: F64
    half_call: F64
    half_put: F64
    fees: F64
    discount: F64
    listed: I64
    good: Bool


class Tables(NamedTuple):
    """Checked measures: which of them each row has, and 1/paths (0 for a formula)."""

    put_value: F64
    put_square: F64 | None
    put_shift: F64
    cdf: F64
    grid_low: F64
    grid_step: F64
    over_paths: F64
    smile_value: F64
    smiles: Bool
    present: Bool
    good: Bool


def _executable(bid: F64, ask: F64, limits: Limits) -> tuple[F64, F64, F64]:
    """Price to buy at (inf if none), price to sell at (-inf if none), half spread (0 if unusable)."""
    spread = ask - bid
    usable = (ask < _MOST) & (bid >= 0.0) & (ask > 0.0) & (spread >= 0.0)
    allowed = np.maximum(0.5 * (bid + ask) * min(limits.spread_share, 1e300), limits.spread_floor)
    usable &= spread <= allowed
    buy = np.where(usable, ask, np.inf)
    sell = np.where(usable & (bid > 0.0), bid, -np.inf)
    return buy, sell, np.where(usable, 0.5 * spread, 0.0)


def read_quotes(quotes: Quotes, fee: npt.ArrayLike, discount: npt.ArrayLike, limits: Limits) -> Book:
    """Check and broadcast a chain; a row that is no chain is marked, not refused."""
    if np.isnan(limits).any() or not np.isfinite(limits.errors):
        raise ValueError(f"limits must be numbers, and errors finite, got {limits}")
    columns = np.broadcast_arrays(*(np.atleast_2d(np.asarray(c, dtype=np.float64)) for c in quotes))
    if columns[0].ndim != 2:
        raise ValueError(f"expected quotes of shape (n, m), got {columns[0].shape}")
    strike, call_bid, call_ask, put_bid, put_ask = columns
    n, m = strike.shape
    if m > MAX_STRIKES:
        raise ValueError(f"at most {MAX_STRIKES} strikes, got {m}")
    fees, factor = (np.broadcast_to(np.asarray(x, dtype=np.float64), (n,)) for x in (fee, discount))
    listed = ~np.isnan(strike)
    highest = np.maximum.accumulate(np.where(listed, strike, -np.inf), axis=1)
    before = np.concatenate([np.full((n, 1), 0.0), highest[:, :-1]], axis=1)
    good = np.where(listed, (strike > before) & (strike < _MOST), True).all(axis=1)
    good &= (fees >= 0.0) & (fees < _MOST) & (factor > 1.0 / _MOST) & (factor < _MOST)
    fees, factor = np.where(good, fees, np.nan), np.where(good, factor, np.nan)
    with np.errstate(invalid="ignore", over="ignore"):
        calls, puts = _executable(call_bid, call_ask, limits), _executable(put_bid, put_ask, limits)
    return Book(
        strike, calls[0], calls[1], puts[0], puts[1], calls[2], puts[2], 4.0 * fees, factor, listed.sum(axis=1), good
    )


def _is_amount(values: F64) -> Any:  # typed as numpy's own `isfinite`
    return np.abs(values) < _MOST


def read_measures(measures: Measures, book: Book) -> Tables:
    """Check the tables against the chain; a row with a half-filled measure, or none, is marked."""
    n, m = book.strike.shape
    value = np.asarray(measures.put_value, dtype=np.float64)
    if value.ndim != 3 or value.shape[1:] != (n, m):
        raise ValueError(f"expected put_value of shape (J, {n}, {m}), got {value.shape}")
    j = value.shape[0]
    cdf = np.asarray(measures.cdf, dtype=np.float64)
    if cdf.ndim != 3 or cdf.shape[:2] != (j, n) or cdf.shape[2] < 2:
        raise ValueError(f"expected cdf of shape ({j}, {n}, p), got {cdf.shape}")
    low, step = (
        np.broadcast_to(np.asarray(x, dtype=np.float64), (n,)) for x in (measures.grid_low, measures.grid_step)
    )
    square = None if measures.put_square is None else np.asarray(measures.put_square, dtype=np.float64)
    shift = np.zeros((0, j, n, m)) if measures.put_shift is None else np.asarray(measures.put_shift, dtype=np.float64)
    if shift.ndim != 4 or shift.shape[1:] != (j, n, m):
        raise ValueError(f"expected put_shift of shape (F, {j}, {n}, {m}), got {shift.shape}")
    if square is not None and square.shape != (j, n, m):
        raise ValueError(f"expected put_square of shape {(j, n, m)}, got {square.shape}")
    paths = np.full((j, n), np.inf)
    if measures.paths is not None:
        given = np.asarray(measures.paths, dtype=np.float64)
        paths = np.array(np.broadcast_to(given[:, None] if given.ndim == 1 else given, (j, n)))
        if square is None and np.isfinite(paths).any():
            raise ValueError("the error of a simulated measure needs put_square")
    listed = ~np.isnan(book.strike)
    smile = np.full((n, m), np.nan) if measures.smile_value is None else np.asarray(measures.smile_value, np.float64)
    if smile.shape != (n, m):
        raise ValueError(f"expected smile_value of shape {(n, m)}, got {smile.shape}")
    complete = (_is_amount(value) | ~listed).all(axis=2) & np.isfinite(cdf).all(axis=2)
    complete &= (_is_amount(shift) | ~listed).all(axis=(0, 3)) & (paths > 0.0)
    if square is not None:
        complete &= (_is_amount(square) | ~listed).all(axis=2)
    absent = (np.isnan(value) | ~listed).all(axis=2) & np.isnan(cdf).all(axis=2)
    good = (complete | absent).all(axis=0) & complete.any(axis=0)
    good &= _is_amount(low) & (step > 1.0 / _MOST) & (step < _MOST)
    smiles = (_is_amount(smile) | ~listed).all(axis=1)
    good &= smiles | (np.isnan(smile) | ~listed).all(axis=1)
    over = 1.0 / np.where(paths > 0.0, paths, np.nan)
    return Tables(value, square, shift, cdf, low, step, over, smile, smiles, complete, good)
