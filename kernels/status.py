"""What can become of a row. Kernels never raise for a row: they return one of these beside NaN."""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

OK: Final = 0
BELOW_INTRINSIC: Final = 1
ABOVE_MAXIMUM: Final = 2
NO_TIME_VALUE: Final = 3  # sigma undefined
EXPIRED: Final = 4  # tau <= 0: results are the limits at expiry
BAD_INPUT: Final = 5  # NaN, infinite or outside the domain
NOT_CONVERGED: Final = 6
AT_BOUND: Final = 7  # degenerate parameter; the result is the constrained optimum
TOO_FEW_DATA: Final = 8
ARBITRAGE: Final = 9  # arbitrage or stale quote
IMMEDIATE_EXERCISE: Final = 10

FINITE: Final = frozenset({OK, EXPIRED, AT_BOUND, IMMEDIATE_EXERCISE})
"""Results are finite exactly where the status is one of these, and NaN elsewhere."""

MEANING: Final = {
    OK: "ok",
    BELOW_INTRINSIC: "below_intrinsic",
    ABOVE_MAXIMUM: "above_maximum",
    NO_TIME_VALUE: "no_time_value",
    EXPIRED: "expired",
    BAD_INPUT: "bad_input",
    NOT_CONVERGED: "not_converged",
    AT_BOUND: "at_bound",
    TOO_FEW_DATA: "too_few_data",
    ARBITRAGE: "arbitrage",
    IMMEDIATE_EXERCISE: "immediate_exercise",
}

_IS_FINITE: Final = np.array([code in FINITE for code in range(IMMEDIATE_EXERCISE + 1)])


def is_finite(code: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.bool_]:
    """Say which rows have finite results."""
    found: npt.NDArray[np.bool_] = _IS_FINITE[code]
    return found
