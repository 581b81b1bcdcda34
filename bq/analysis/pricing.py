"""Option prices, Greeks and implied volatilities of arrays, in the units that people use.

Kernels work in base units; here is where they are converted, for the HTTP interface and for Python alike: vega, vanna
and volga per volatility point, rho per percentage point, theta and charm per calendar day.
"""

from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from bq.market.source import F64, Bool
from kernels import american, black_scholes, implied_vol, status

STYLES: Final = ("european", "american")
POINT: Final = 0.01  # a volatility point, a percentage point of interest
DAYS: Final = 365.0  # a year of tau
ORDER: Final = ("price", "spot", "strike", "tau", "rate", "dividend", "sigma")
"""Of the kernels' arguments; those that price have no price, those that invert one no sigma."""

T = TypeVar("T", "Prices", "Volatilities")


class Prices(NamedTuple):
    """Prices and Greeks of n rows, each (n,) float64; `status` int8 of `kernels.status`, NaN where it says no."""

    price: F64
    delta: F64  # $ per $1 of the share
    gamma: F64  # change of delta per $1
    vega: F64  # $ per volatility point
    theta: F64  # $ per calendar day
    rho: F64  # $ per percentage point of the rate
    vanna: F64  # change of delta per volatility point
    volga: F64  # change of vega per volatility point
    charm: F64  # change of delta per calendar day
    status: npt.NDArray[np.int8]


class Volatilities(NamedTuple):
    """Implied volatilities of n rows: annual fractions, and the status of each."""

    sigma: F64
    status: npt.NDArray[np.int8]


class Rows(NamedTuple):
    """What is to be computed: the numeric columns in the order of the kernels, broadcast, all (n,)."""

    columns: tuple[F64, ...]
    is_call: Bool
    american: Bool

    @property
    def size(self) -> int:
        """How many rows."""
        return self.is_call.size

    def part(self, start: int, stop: int) -> "Rows":
        """Take some of the rows."""
        cut = slice(start, stop)
        return Rows(tuple(column[cut] for column in self.columns), self.is_call[cut], self.american[cut])


def rows(columns: dict[str, Any], is_call: Any, style: Any) -> Rows:
    """Broadcast the arguments of a batch against each other.

    Parameters
    ----------
    columns : dict of str to array_like
        By name; scalars or (n,), None counts as missing (NaN).
    is_call : array_like
        Scalar or (n,) bool, or 0 and 1.
    style : str or array_like of str
        "european" or "american".

    Raises
    ------
    ValueError
        When lengths do not fit or a value has the wrong type; the text names the argument.
    """
    given: dict[str, F64] = {name: _column(name, columns[name]) for name in ORDER if name in columns}
    calls, styles = _flags(is_call), _american(style)
    sized: dict[str, npt.NDArray[Any]] = {**given, "is_call": calls, "style": styles}
    lengths = {name: column.size for name, column in sized.items() if column.size != 1}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name} has {size}" for name, size in lengths.items())
        raise ValueError(f"arrays must have one length or be single values: {told}")
    n = next(iter(lengths.values()), 1)
    wide = {name: np.ascontiguousarray(np.broadcast_to(column, (n,))) for name, column in sized.items()}
    return Rows(tuple(wide[name] for name in given), wide["is_call"], wide["style"])


def _column(name: str, value: Any) -> F64:
    try:
        column = np.atleast_1d(np.asarray(value, dtype=np.float64))
    except (TypeError, ValueError):
        raise ValueError(f"{name} must hold numbers") from None
    if column.ndim != 1:
        raise ValueError(f"{name} must be one number or a list of numbers, not of shape {column.shape}")
    return column


def _flags(value: Any) -> Bool:
    given = np.atleast_1d(np.asarray(value))
    if given.ndim != 1:
        raise ValueError(f"is_call must be one value or a list, not of shape {given.shape}")
    # The truth of any other value would be a guess: "put" is true.
    if given.size and given.dtype != np.bool_ and not (given.dtype.kind in "iu" and np.isin(given, (0, 1)).all()):
        raise ValueError("is_call must be true or false for each row")
    return given.astype(np.bool_)


def _american(value: Any) -> Bool:
    given = np.atleast_1d(np.asarray(value))
    if given.ndim != 1:
        raise ValueError(f"style must be one value or a list, not of shape {given.shape}")
    american_rows = given == "american"
    if not (american_rows | (given == "european")).all():
        raise ValueError("style must be european or american")
    return np.atleast_1d(np.asarray(american_rows, dtype=np.bool_))


def _by_style(given: Rows, kind: Callable[..., T], european: Callable[..., T], american_: Callable[..., T]) -> T:
    """Give the rows of each style to its function, and put the answers back in order."""
    if not given.american.any():
        return european(*given.columns, given.is_call)
    if given.american.all():
        return american_(*given.columns, given.is_call)
    parts = []
    for chosen, work in ((~given.american, european), (given.american, american_)):
        parts.append((chosen, work(*(column[chosen] for column in given.columns), given.is_call[chosen])))
    whole = [np.empty(given.size, dtype=field.dtype) for field in parts[0][1]]
    for chosen, answer in parts:
        for column, field in zip(whole, answer, strict=True):
            column[chosen] = field
    return kind(*whole)


def _in_units(g: black_scholes.Greeks) -> Prices:
    return Prices(
        price=g.price,
        delta=g.delta,
        gamma=g.gamma,
        vega=g.vega * POINT,
        theta=g.theta / DAYS,
        rho=g.rho * POINT,
        vanna=g.vanna * POINT,
        volga=g.volga * POINT**2,
        charm=g.charm / DAYS,
        status=g.status,
    )


def price_rows(given: Rows) -> Prices:
    """Price rows of spot, strike, tau, rate, dividend, sigma."""
    return _by_style(
        given,
        Prices,
        lambda *columns: _in_units(black_scholes.greeks(*columns)),
        lambda *columns: _in_units(american.greeks(*columns)),
    )


def implied_vol_rows(given: Rows) -> Volatilities:
    """Invert rows of price, spot, strike, tau, rate, dividend."""
    return _by_style(
        given,
        Volatilities,
        lambda *columns: Volatilities(*implied_vol.implied_vol(*columns)),
        lambda *columns: Volatilities(*american.implied_vol(*columns)),
    )


def meanings(codes: npt.NDArray[np.int8]) -> dict[int, str]:
    """Name the status codes that occur."""
    return {int(code): status.MEANING[int(code)] for code in np.unique(codes)}
