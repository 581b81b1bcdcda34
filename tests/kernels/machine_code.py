"""Instruction counts of kernels: compiled afresh and told by Numba, or as they are loaded and told by objdump."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

_COUNT = """
import importlib, json, re, sys
from kernels import _jit
for module in json.loads(sys.argv[1]):
    importlib.import_module("kernels." + module)
found = {}
for dispatcher in _jit.compiled:
    asm = "\\n".join(dispatcher.inspect_asm().values())
    name = dispatcher.py_func.__module__.removeprefix("kernels.") + " " + dispatcher.py_func.__name__
    patterns = {"packed": r"vfn?m(?:add|sub)\\d+pd", "scalar": r"vfn?m(?:add|sub)\\d+sd", "gathers": r"vp?gather"}
    patterns["moves"] = r"\\bvmovsd\\b"
    found[name] = {what: len(re.findall(pattern, asm)) for what, pattern in patterns.items()}
print(json.dumps(found))
"""


def count(modules: Iterable[str]) -> dict[str, dict[str, int]]:
    """Count packed and scalar FMAs, gathers and scalar moves of all kernels of modules: {"module function": {...}}.

    A kernel's helpers are counted with it where LLVM inlined them or compiled them into its module.
    """
    answer = subprocess.run(
        [sys.executable, "-c", _COUNT, json.dumps(sorted(set(modules)))],
        cwd=ROOT,
        env={**os.environ, "BQ_KERNEL_CACHE": "off"},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(answer.stdout.splitlines()[-1])


_COUNT_LOADED = """
import importlib, json, re, subprocess, sys, tempfile
from numba.core.codegen import CPUCodeLibrary
keep = CPUCodeLibrary._set_compiled_object
def record(self, code):
    self.machine_code = code
    keep(self, code)
CPUCodeLibrary._set_compiled_object = record
from kernels import _jit
for module in json.loads(sys.argv[1]):
    importlib.import_module("kernels." + module)
found = {}
for dispatcher in _jit.compiled:
    library = next(iter(dispatcher.overloads.values()))._asdict()["library"]
    code = getattr(library, "machine_code", None) or library._get_compiled_object()
    with tempfile.NamedTemporaryFile(suffix=".o") as file:
        file.write(code)
        file.flush()
        command = ["objdump", "-d", "--no-show-raw-insn", file.name]
        asm = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    name = dispatcher.py_func.__module__.removeprefix("kernels.") + " " + dispatcher.py_func.__name__
    found[name] = len(re.findall(r"vfn?m(?:add|sub)\\d+pd", asm))
print(json.dumps(found))
"""


def count_loaded(modules: Iterable[str]) -> dict[str, int]:
    """Count the packed FMAs in the code that runs, from the cache where it is there: {"module function": count}."""
    command = [sys.executable, "-c", _COUNT_LOADED, json.dumps(sorted(set(modules)))]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return json.loads(answer.stdout.splitlines()[-1])
