"""What the doors make of odd arrays: the same numbers, or an error that says what was expected; never other numbers."""

import numpy as np
import pandas as pd
import pytest

from kernels._arrays import option_rows, rows, series

Y = np.random.default_rng(0).standard_normal((3, 40))
READ_ONLY = Y.copy()
READ_ONLY.flags.writeable = False


@pytest.mark.parametrize(
    "given",
    [
        Y,
        Y.tolist(),
        Y.astype(">f8"),
        np.asfortranarray(Y),
        np.repeat(Y, 2, axis=1)[:, ::2],
        Y[:, ::-1].copy()[:, ::-1],
        Y.astype(object),
        pd.DataFrame(Y),
        READ_ONLY,
    ],
    ids=["as it is", "lists", "big-endian", "by columns", "strided", "backwards", "objects", "frame", "read-only"],
)
def test_series_in_any_layout_are_the_same_numbers(given):
    values, lengths = series(given, None)
    assert (values == Y).all()
    assert values.dtype == np.float64
    assert values.flags.carray
    assert lengths.tolist() == [40, 40, 40]


@pytest.mark.parametrize("given", [np.empty((0, 40)), np.empty((3, 0)), np.empty((0, 0))])
def test_no_rows_and_no_columns_are_series_too(given):
    values, lengths = series(given, [0.0] * len(given))
    assert values.shape == given.shape
    assert lengths.tolist() == [0] * len(given)


@pytest.mark.parametrize("given", [[40, 7, 0], [40.0, 7.0, 0.0], np.array([40, 7, 0], np.uint8), pd.Series([40, 7, 0])])
def test_whole_numbers_of_any_kind_are_lengths(given):
    assert series(Y, given)[1].tolist() == [40, 7, 0]
    assert series(Y, 7)[1].tolist() == [7, 7, 7]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([10.5, 40, 40], "whole numbers"),
        ([np.nan, 40, 40], "whole numbers"),
        ([np.inf, 40, 40], "0..40"),
        ([-1, 40, 40], "0..40"),
        ([41, 40, 40], "0..40"),
        ([2**70, 40, 40], "0..40"),
        (np.array([2**64 - 1, 40, 40], np.uint64), "0..40"),
        (["10", "40", "40"], "real numbers"),
        ([40 + 1j, 40, 40], "real numbers"),
        ([40, 40], "3 lengths"),
        ([[40], [40], [40]], "3 lengths"),
    ],
)
def test_what_is_no_length_raises(given, message):
    with pytest.raises(ValueError, match=message):
        series(Y, given)


@pytest.mark.parametrize(
    "given", [["100", "101"], np.array([1 + 2j, 3]), np.array(["2024-01-02"], "M8[D]"), np.array([5], "m8[s]")]
)
def test_strings_dates_and_complex_numbers_are_no_numbers(given):
    with pytest.raises(ValueError, match="real numbers"):
        series(given, None)
    with pytest.raises(ValueError, match="real numbers"):
        rows(1.0, given)
    with pytest.raises(ValueError, match="real numbers"):
        option_rows(True, 1.0, given)


def test_missing_values_of_pandas_are_nan():
    first, second = rows(pd.Series([1.5, None], dtype="Float64"), 2.0)
    np.testing.assert_array_equal(first, [1.5, np.nan])
    assert second.tolist() == [2.0, 2.0]


def test_no_rows_with_scalars_are_no_rows_and_do_not_fit_with_two():
    assert [column.size for column in rows(np.empty(0), 1.0, [2.0])] == [0, 0, 0]
    with pytest.raises(ValueError, match="do not fit"):
        rows(np.empty(0), [1.0, 2.0])
