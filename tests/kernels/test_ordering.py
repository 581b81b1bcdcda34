"""Sorting rows against numpy's sort."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from kernels.ordering import sorted_rows

RNG = np.random.default_rng(8)


@pytest.mark.parametrize("n", [0, 1, 2, 63, 64, 65, 4096])
def test_rows_are_sorted_as_numpy_sorts_them(n: int) -> None:
    values = RNG.standard_t(2, (5, n)) * 10.0 ** RNG.integers(-300, 300, (5, 1))
    np.testing.assert_array_equal(sorted_rows(values), np.sort(values, axis=1))


@given(arrays.arrays(np.float64, st.integers(64, 300), elements=st.floats(allow_nan=False)))
def test_any_numbers_are_sorted(values: np.ndarray) -> None:
    np.testing.assert_array_equal(sorted_rows(values), np.sort(values)[None, :])


def test_numbers_that_agree_in_their_leading_bits_are_sorted() -> None:
    values = 1.0 + RNG.permutation(500)[None, :] * 2.0**-52
    np.testing.assert_array_equal(sorted_rows(values), np.sort(values, axis=1))


def test_what_lies_beyond_a_length_stays_and_the_input_too() -> None:
    values = RNG.standard_normal((4, 200))
    before = values.copy()
    found = sorted_rows(values, [0, 100, 150, 200])
    np.testing.assert_array_equal(values, before)
    for row, n in enumerate([0, 100, 150, 200]):
        np.testing.assert_array_equal(found[row, :n], np.sort(values[row, :n]))
        np.testing.assert_array_equal(found[row, n:], values[row, n:])


def test_a_length_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="lengths"):
        sorted_rows(np.zeros((2, 3)), [1, 4])
    with pytest.raises(ValueError, match="lengths"):
        sorted_rows(np.zeros((2, 3)), [1, 2, 3])
    with pytest.raises(ValueError, match="whole numbers"):
        sorted_rows(np.zeros((2, 3)), [1.5, 2])
