"""Loss of vectorisation is silent and costs a factor of five: count packed and scalar FMAs in fresh machine code.

A kernel's helpers are counted with it where LLVM inlined them or compiled them into its module.
"""

import llvmlite.binding as llvm
import pytest

from tests.kernels import machine_code as machine

# module, kernel -> least share of packed among all FMAs, most gathers (a gather is a contiguous load that LLVM could
# not recognise: see kernels._blocks), most moves of one number (a copied column is 128 where it is no packed code). One
# line for each hot kernel.
HOT = {
    ("black_scholes", "_price"): (1.0, 0, 0),
    ("black_scholes", "_greeks"): (1.0, 0, 0),
    ("implied_vol", "_implied_vol"): (1.0, 0, 50),  # rows wait one by one for the slow path
}
# These take half a minute to compile. Scalar in them are what brings rows in and out of lanes, the versions of loops
# for columns that overlap, which are never taken, and how a row's next volatility is chosen between two prices.
HOT_AND_LARGE = {
    ("american_rows", "price_rows"): (0.5, 0, None),
    ("american_inversion", "invert_rows"): (0.35, 0, None),
    ("dividend_tree", "_price"): (0.3, 0, None),
}

pytestmark = pytest.mark.skipif(
    not llvm.get_host_cpu_features().get("fma"), reason="counts x86 FMA instructions, which this machine has not"
)


def assert_packed(count, share, gathers, moves):
    assert count["packed"] >= 20, count
    assert count["packed"] / (count["packed"] + count["scalar"]) >= share, count
    assert count["gathers"] <= gathers, count
    assert moves is None or count["moves"] <= moves, count


@pytest.fixture(scope="module")
def machine_code():
    return machine.count(module for module, _ in HOT)


@pytest.fixture(scope="module")
def more_machine_code():
    return machine.count(module for module, _ in HOT_AND_LARGE)


@pytest.mark.parametrize("kernel", HOT, ids=".".join)
def test_a_hot_kernel_is_packed_code(machine_code, kernel):
    assert_packed(machine_code[" ".join(kernel)], *HOT[kernel])


@pytest.mark.slow
@pytest.mark.parametrize("kernel", HOT_AND_LARGE, ids=".".join)
def test_so_is_a_large_one(more_machine_code, kernel):
    assert_packed(more_machine_code[" ".join(kernel)], *HOT_AND_LARGE[kernel])
