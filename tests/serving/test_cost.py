"""What a batch will take, learnt from the batches seen, whatever the first guess was."""

import random

import pytest

from bq.serving.cost import CostLine

FIXED, EACH = 0.008, 0.003  # the truth


def test_the_line_finds_the_true_cost():
    line = CostLine(0.02, 0.03)
    for n in [1, 5, 20, 3, 40, 8] * 20:
        line.observe(n, 0.002 + EACH * n)

    assert line.each == pytest.approx(EACH, rel=0.15)  # the seed is ten times too high and never quite forgotten


@pytest.mark.parametrize(
    "seed", [(0.0, 0.05), (0.0, 1e-4), (0.02, 0.01), (FIXED, EACH), (0.1, 0.1 / 16), (0.0, 0.0)], ids=str
)
def test_batches_find_their_size_from_any_seed(seed):
    """A line from a bad moment is seen through, though the sizes that it leads to have little variety."""
    line, noise = CostLine(*seed), random.Random(1)
    sizes = []
    for _ in range(40):
        sizes.append(min(line.size_within(0.1), 128))
        line.observe(sizes[-1], (FIXED + EACH * sizes[-1]) * noise.lognormvariate(0.0, 0.2))

    fitting = (0.1 - FIXED) / EACH
    assert all(fitting / 2 <= size <= fitting * 2 for size in sizes[5:])


def test_a_machine_that_slows_down_is_followed():
    line = CostLine(FIXED, EACH)
    for _ in range(100):
        size = min(line.size_within(0.1), 128)
        line.observe(size, 5.0 * (FIXED + EACH * size))

    assert line.predict(10) == pytest.approx(5.0 * (FIXED + EACH * 10), rel=0.2)


@pytest.mark.parametrize(
    ("fixed", "each", "size"),
    [(0.0, 0.001, 25), (0.001, 0.001, 24), (0.006, 0.010, 2), (0.020, 0.001, 80), (0.136, 0.035, 11), (0.0, 0.1, 1)],
)
def test_a_slice_fits_its_time_or_is_worth_its_fixed_cost(fixed, each, size):
    assert CostLine(fixed, each).size_within(0.025) == size
