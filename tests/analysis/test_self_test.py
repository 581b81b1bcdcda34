"""A server whose kernels are off says so before it is ready."""

import numpy as np
import pytest

from bq.analysis import self_test
from bq.errors import Problem
from kernels import american, arima, black_scholes, garch, implied_vol


def test_the_kernels_of_this_host_pass(analyses):
    self_test.check(analyses)


@pytest.mark.parametrize(
    ("module", "door", "what"),
    [
        (black_scholes, "price", "Black-Scholes"),
        (implied_vol, "implied_vol", "implied volatility"),
        (american, "price", "American put"),
        (garch, "loglikelihood", "GARCH"),
        (arima, "loglikelihood", "ARIMA"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.parametrize("factor", [1.001, np.nan], ids=["off", "nan"])
def test_a_kernel_that_is_off_is_named(monkeypatch, module, door, what, factor):
    right = getattr(module, door)

    def wrong(*args, **options):
        answer = right(*args, **options)
        return (
            answer._replace(**{answer._fields[0]: answer[0] * factor}) if isinstance(answer, tuple) else answer * factor
        )

    monkeypatch.setattr(module, door, wrong)
    with pytest.raises(RuntimeError, match=what):
        self_test.check([])


def test_a_ticker_without_an_analysis_is_a_failure():
    with pytest.raises(RuntimeError, match="gone"):
        self_test.check([Problem("bad_data", "gone")])
