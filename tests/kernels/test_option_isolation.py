"""Rows of options do not know of each other."""

import pytest

from tests.kernels import isolation
from tests.kernels.option_doors import DOORS

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


@pytest.mark.slow  # compiles every option kernel
def test_a_row_has_the_same_bits_compiled_afresh_and_loaded_from_the_cache():
    isolation.assert_same_bits_fresh_and_from_the_cache("tests.kernels.option_doors")
