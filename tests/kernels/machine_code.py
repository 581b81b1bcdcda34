"""Instruction counts of kernels, compiled afresh in a process of its own: code from the cache cannot be inspected."""

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
    found[name] = {what: len(re.findall(pattern, asm)) for what, pattern in patterns.items()}
print(json.dumps(found))
"""


def count(modules: Iterable[str]) -> dict[str, dict[str, int]]:
    """Count packed and scalar FMAs and gathers of every kernel of these modules: {"module function": {...}}.

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
