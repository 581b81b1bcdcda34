"""Compile every kernel ahead: `python -m kernels.warm`. Modules are shared out over processes, one a core.

Numba compiles under one lock, so threads would not help. What is already compiled for this host and these sources is
loaded and costs nothing.
"""

import importlib
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from kernels import _jit

HEAVY_FIRST: Final = ("american", "garch", "arima", "spectral", "smile", "butterfly")


def modules() -> list[str]:
    """List the kernel modules that no other imports (those bring in the rest), the ones that take longest first.

    A process of its own for each of forty modules spent longer importing Numba than compiling.
    """
    names = {p.stem for p in Path(__file__).parent.glob("*.py")} - {"__init__", "warm"}
    inner = {name for module in names for name in _jit.imported(module)}
    return sorted(names - inner, key=lambda name: (HEAVY_FIRST.index(name) if name in HEAVY_FIRST else 99, name))


def compile_all(processes: int) -> float:
    """Import every module in child processes; seconds it took.

    Raises
    ------
    SystemExit
        With the child's exit code when a module does not compile.
    """
    began = time.perf_counter()
    todo, running = modules(), list[subprocess.Popen[bytes]]()
    root = str(Path(__file__).resolve().parent.parent)
    while todo or running:
        while todo and len(running) < processes:
            running.append(subprocess.Popen([sys.executable, "-c", f"import kernels.{todo.pop(0)}"], cwd=root))
        done = next((p for p in running if p.poll() is not None), None)
        if done is None:
            time.sleep(0.02)
            continue
        running.remove(done)
        if done.returncode:
            for other in running:
                other.kill()
            raise SystemExit(done.returncode)
    return time.perf_counter() - began


def main() -> None:
    """Compile, then load everything in one process and tell both times."""
    seconds = compile_all(max(len(os.sched_getaffinity(0)), 1))
    began = time.perf_counter()
    for name in modules():
        importlib.import_module(f"kernels.{name}")
    loaded = time.perf_counter() - began
    print(
        f"kernels: {len(_jit.compiled)} ready for {_jit.host()}; compiled in {seconds:.1f} s, "
        f"loaded in {loaded:.1f} s, {_jit.cache_misses()} compiled again"
    )


if __name__ == "__main__":
    main()
