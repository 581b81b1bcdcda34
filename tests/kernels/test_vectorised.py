"""Loss of vectorisation is silent and costs a factor of five: count packed and scalar FMAs in fresh machine code.

A kernel's helpers are counted with it where LLVM inlined them or compiled them into its module.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import llvmlite.binding as llvm
import pytest

ROOT = Path(__file__).resolve().parents[2]

# module, kernel -> least share of packed among all FMAs, most gathers (a gather is a contiguous load that LLVM could
# not recognise: see kernels._blocks). One line for each hot kernel.
HOT = {
    ("black_scholes", "_price"): (1.0, 0),
    ("black_scholes", "_greeks"): (1.0, 0),
    ("implied_vol", "_implied_vol"): (1.0, 0),
}

COUNT = """
import importlib, json, re, sys
from kernels import _jit
for module in json.loads(sys.argv[1]):
    importlib.import_module("kernels." + module)
found = {}
for dispatcher in _jit.compiled:
    asm = "\\n".join(dispatcher.inspect_asm().values())
    name = dispatcher.py_func.__module__.removeprefix("kernels.") + " " + dispatcher.py_func.__name__
    patterns = {"packed": r"vfn?m(?:add|sub)\\d+pd", "scalar": r"vfn?m(?:add|sub)\\d+sd", "gathers": r"vp?gather"}
    found[name] = {what: len(re.findall(pattern, asm)) for what, pattern in patterns.items()}
print(json.dumps(found))
"""

pytestmark = pytest.mark.skipif(
    not llvm.get_host_cpu_features().get("fma"), reason="counts x86 FMA instructions, which this machine has not"
)


@pytest.fixture(scope="module")
def machine_code():
    """Instruction counts of every hot kernel, compiled afresh in a process of its own."""
    modules = sorted({module for module, _ in HOT})
    answer = subprocess.run(
        [sys.executable, "-c", COUNT, json.dumps(modules)],
        cwd=ROOT,
        env={**os.environ, "BQ_KERNEL_CACHE": "off"},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(answer.stdout.splitlines()[-1])


@pytest.mark.parametrize("kernel", HOT, ids=".".join)
def test_a_hot_kernel_is_packed_code(machine_code, kernel):
    count = machine_code[" ".join(kernel)]
    share, gathers = HOT[kernel]
    assert count["packed"] >= 20, count
    assert count["packed"] / (count["packed"] + count["scalar"]) >= share, count
    assert count["gathers"] <= gathers, count
