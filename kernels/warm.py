"""Compile every kernel ahead: `python -m kernels.warm`. One process a core, each of which takes module after module.

Numba compiles under one lock, so threads would not help. What is already compiled for this host and these sources is
loaded and costs nothing. A process goes on to the next module because importing Numba takes a second, and because the
steps that modules share (the elementary functions) pass through Numba's front end once a process.

A module waits for the modules that it imports: two processes that needed the same one would both compile it.
"""

import importlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Final

from kernels import _jit

SECONDS: Final = {
    "arma_search": 18.5,
    "_garch_newton": 14.5,
    "smile": 10.0,
    "butterfly_scan": 10.0,
    "american_rows": 9.5,
    "american_inversion": 8.0,
    "_periodogram": 6.0,
    "black_scholes": 5.0,
    "smile_spline": 5.0,
    "implied_vol": 4.0,
    "density": 3.5,
    "arma_filter": 3.0,
    "dividend_tree": 3.0,
    "payoff": 3.0,
    "prospects": 3.0,
    "phase": 2.5,
    "outcomes": 2.5,
    "terminal_returns": 2.5,
    "simulate": 2.5,
    "_confirmation": 1.5,
    "arma_roots": 1.5,
    "terminal": 1.5,
    "garch_error": 1.5,
    "_garch_path": 1.5,
    "ordering": 1.0,
    "end_point": 1.0,
    "bootstrap": 0.5,
    "spline": 0.4,
}
"""CPU seconds that a module's own kernels take to compile, roughly: what takes longest shall not come last."""
FEW: Final = 5  # modules not worth other processes
WITH_PARENT: Final = "--with-parent"
_NEW: Final = 10.0  # for a module that nobody has measured


@cache
def modules() -> list[str]:
    """List the modules that have kernels of their own."""
    folder = Path(__file__).parent
    return sorted(p.stem for p in folder.glob("*.py") if "\n@kernel(" in p.read_text(encoding="utf-8"))


@cache
def needed(module: str) -> frozenset[str]:
    """Find the modules with kernels that importing this one brings in."""
    found = set[str]()
    for name in _jit.imported(module):
        found |= needed(name) | ({name} & set(modules()))
    return frozenset(found)


def plan(names: Iterable[str]) -> list[str]:
    """Order modules by what hangs on them: their own time and that of the longest chain of modules that wait."""
    own = {name: SECONDS.get(name, _NEW) for name in names}

    @cache
    def ahead(name: str) -> float:
        return own[name] + max((ahead(other) for other in own if name in needed(other)), default=0.0)

    return sorted(own, key=lambda name: (-ahead(name), name))


def compile_all(processes: int) -> tuple[float, float]:
    """Import every module that has kernels, each in one of `processes` processes; seconds, and CPU seconds, it took.

    Raises
    ------
    Exception
        What the import of a module raised, with its traceback.
    """
    began = time.perf_counter()
    todo, done, running, cpu = plan(modules()), set[str](), dict[Future[float], str](), 0.0
    context = get_context("forkserver")
    context.set_forkserver_preload(["kernels._jit"])  # Numba is imported once, before the processes part
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        while todo or running:
            for name in [n for n in todo if needed(n) <= done][: processes - len(running)]:
                todo.remove(name)
                running[pool.submit(_compile, name)] = name
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                done.add(running.pop(future))
                cpu += future.result()
    return time.perf_counter() - began, cpu


def ahead_of_import() -> bool:
    """Compile in processes of their own, where nothing is compiled yet and what is can be stored; say whether it was.

    A process that compiles everything itself uses one core, and keeps 300 MiB of the compiler's.
    """
    folder = _jit.cache_of(modules()[0]).parent
    writable = os.access(folder if folder.exists() else folder.parent, os.W_OK)
    missing = [name for name in modules() if not _jit.cache_of(name).is_dir()]
    if len(missing) < FEW or not writable or os.environ.get("BQ_KERNEL_CACHE") == "off":
        return False
    command = [sys.executable, "-m", "kernels.warm", WITH_PARENT]
    root = Path(__file__).resolve().parent.parent
    with subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, start_new_session=True) as child:
        return child.wait() == 0


def _end_with_parent() -> None:
    """Wait until the parent is gone, however it went, then end with all that was begun for it."""
    while os.read(0, 1):  # not sys.stdin: at the end the interpreter cannot close a reader that somebody waits in
        pass
    os.killpg(0, signal.SIGKILL)


def _compile(module: str) -> float:
    """Import one module; CPU seconds it took."""
    began = time.process_time()
    importlib.import_module(f"kernels.{module}")
    return time.process_time() - began


def main() -> None:
    """Compile, then load everything in one process and tell both times."""
    if WITH_PARENT in sys.argv:
        threading.Thread(target=_end_with_parent, daemon=True).start()
    seconds, cpu = compile_all(max(len(os.sched_getaffinity(0)), 1))
    began = time.perf_counter()
    for name in modules():
        _compile(name)
    loaded = time.perf_counter() - began
    print(
        f"kernels: {len(_jit.compiled)} ready for {_jit.host()}; compiled in {seconds:.1f} s "
        f"({cpu:.0f} of CPU), "
        f"loaded in {loaded:.1f} s, {_jit.cache_misses()} compiled again"
    )


if __name__ == "__main__":
    main()
