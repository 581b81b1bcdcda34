"""Loss of vectorisation is silent and costs a factor of five: count packed and scalar FMAs in fresh machine code.

A kernel's helpers are counted with it where LLVM inlined them or compiled them into its module.
"""

import llvmlite.binding as llvm
import pytest

from tests.kernels import machine_code as machine

# module, kernel -> least share of packed among all FMAs, most gathers (a gather is a contiguous load that LLVM could
# not recognise: see kernels._blocks). One line for each hot kernel.
HOT = {
    ("black_scholes", "_price"): (1.0, 0),
    ("black_scholes", "_greeks"): (1.0, 0),
    ("implied_vol", "_implied_vol"): (1.0, 0),
}

pytestmark = pytest.mark.skipif(
    not llvm.get_host_cpu_features().get("fma"), reason="counts x86 FMA instructions, which this machine has not"
)


@pytest.fixture(scope="module")
def machine_code():
    """Instruction counts of every hot kernel."""
    return machine.count(module for module, _ in HOT)


@pytest.mark.parametrize("kernel", HOT, ids=".".join)
def test_a_hot_kernel_is_packed_code(machine_code, kernel):
    count = machine_code[" ".join(kernel)]
    share, gathers = HOT[kernel]
    assert count["packed"] >= 20, count
    assert count["packed"] / (count["packed"] + count["scalar"]) >= share, count
    assert count["gathers"] <= gathers, count
