"""The lane loops of the series kernels are packed code; what is left scalar chooses, starts and ends.

Lanes are series or points, and around them stands much that happens once a series, so no share of packed code is asked
for but a number: that of the inner loops, of which half would be gone if one of them were no longer vectorised.
"""

import shutil

import llvmlite.binding as llvm
import pytest

from tests.kernels import machine_code

LEAST = {
    ("arma_search", "search"): 800,
    ("arma_filter", "filter_series"): 60,
    ("_garch_newton", "grid_starts"): 16,
    ("_garch_newton", "search"): 150,
    ("_garch_newton", "finish"): 30,
    ("_periodogram", "periodograms"): 100,
    ("simulate", "_simulate"): 20,
    ("outcomes", "_levels"): 8,
    ("outcomes", "_density"): 16,
}

pytestmark = [
    pytest.mark.skipif(not llvm.get_host_cpu_features().get("fma"), reason="counts x86 FMA instructions"),
    pytest.mark.skipif(shutil.which("objdump") is None, reason="reads machine code with objdump"),
]


@pytest.fixture(scope="module")
def packed():
    return machine_code.count_loaded(module for module, _ in LEAST)


@pytest.mark.parametrize("kernel", LEAST, ids=".".join)
def test_the_inner_loops_are_packed_code(packed, kernel):
    assert packed[" ".join(kernel)] >= LEAST[kernel]
