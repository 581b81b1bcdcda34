"""Rows of series do not know of each other."""

import pytest

from tests.kernels import isolation
from tests.kernels.series_doors import DOORS

every_door = pytest.mark.parametrize("door", DOORS, ids=str)


@every_door
def test_a_row_has_the_same_bits_in_any_batch(door):
    isolation.assert_same_bits_in_any_batch(door)


@every_door
def test_a_row_has_the_same_bits_at_any_place(door):
    isolation.assert_same_bits_in_any_place(door)


@every_door
def test_a_row_has_the_same_bits_on_any_thread(door):
    isolation.assert_same_bits_on_any_thread(door)


@every_door
def test_a_bad_input_stays_in_its_row(door):
    isolation.assert_a_bad_input_stays_in_its_row(door)


@pytest.mark.slow
def test_compiled_afresh_or_loaded_a_row_has_the_same_bits():
    isolation.assert_same_bits_fresh_and_from_the_cache("tests.kernels.series_doors")
