"""Where a count begins that is handed to a step of a kernel."""

from typing import Final, cast

import numpy as np

COUNT: Final = cast(int, np.int64(0))
"""Zero, of which Numba knows the type alone.

Of a plain 0 it knows the value before it has seen the count grow, and compiles the step, and the steps that it calls,
for that value first: up to a seventh of a kernel's compile time, for code that nobody runs.
"""
