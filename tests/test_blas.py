"""One thread for BLAS, from the front doors' first line on."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
NAME = "OPENBLAS_NUM_THREADS"


def run(code: str, **environment: str) -> str:
    inherited = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=inherited | environment, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads are counted as Linux shows them")
@pytest.mark.parametrize("door", ["server", "bq.__main__"])
def test_no_thread_is_made_for_blas(door: str) -> None:
    code = f"""
import contextlib, os, sys
sys.argv = ["bq", "--help"]
with contextlib.suppress(SystemExit):  # the command line's, after its help
    import {door}
import numpy, scipy.linalg
print(len(os.listdir("/proc/self/task")))
"""
    assert run(code).splitlines()[-1] == "1"


def test_who_sets_the_number_keeps_it() -> None:
    code = f"import os; import bq.blas; print(os.environ['{NAME}'], os.environ['OMP_NUM_THREADS'])"
    assert run(code, **{NAME: "3"}) == "3 1"
