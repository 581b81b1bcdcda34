"""Run every case and write the table: `make bench`, or `python -m benchmarks.report garch arima` for some."""

import datetime
import importlib
import os
import platform
import shutil
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

from benchmarks.runner import Case, Measured, measure

HERE = Path(__file__).resolve().parent
TARGET = HERE / "README.md"
BEGIN, END = "<!-- table -->", "<!-- /table -->"
LIBRARIES = ("numpy", "numba", "scipy", "arch", "statsmodels", "statsforecast", "QuantLib", "py_lets_be_rational")


def collect(names: list[str]) -> list[tuple[str, Case]]:
    """Import the case modules that were asked for, all when none was."""
    found = sorted(p.stem for p in (HERE / "cases").glob("*.py") if p.stem != "__init__")
    unknown = set(names) - set(found)
    if unknown:
        raise SystemExit(f"no such cases: {', '.join(sorted(unknown))}; there are {', '.join(found)}")
    modules = [name for name in found if not names or name in names]
    return [(name, case) for name in modules for case in importlib.import_module(f"benchmarks.cases.{name}").cases()]


def duration(seconds: float) -> str:
    """Write a duration with three figures."""
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6), ("ns", 1e-9)):
        if seconds >= scale or unit == "ns":
            return f"{seconds / scale:.3g} {unit}"
    raise AssertionError


def row(result: Measured) -> str:
    """Write one line of the table."""
    ratios = "<br>".join(f"{ratio:,.3g}x {name}" for name, ratio in result.ratios().items()) or "-"
    case = result.case
    notes = "<br>".join(text for text in (result.accuracy, case.notes) if text)
    goals = "<br>".join(text for text in (case.must_reach, f"aim: {case.aim}" if case.aim else "") if text)
    return line(case.name, duration(result.seconds_per_row), ratios, notes, goals, case.limits)


def line(*cells: str) -> str:
    """Write one line of a table."""
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def host() -> str:
    """Name the machine and the versions."""
    cpu = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.processor(),
    )
    versions = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    from kernels import _jit

    cores = len(os.sched_getaffinity(0))
    today = datetime.date.today().isoformat()
    return (
        f"{today}, load {os.getloadavg()[0]:.1f}: {cpu}, {cores} cores, compiled for {_jit.host()}; "
        f"Python {platform.python_version()}, {compiler()}, {versions}."
    )


def compiler() -> str:
    """Name the C compiler, or its absence: without one the comparison with C is left out."""
    found = shutil.which("cc") or shutil.which("gcc")
    if found is None:
        return "no C compiler"
    return subprocess.run([found, "--version"], capture_output=True, text=True, check=True).stdout.splitlines()[0]


def main() -> None:
    """Measure, print, and replace the table in README.md (only when everything was run).

    A case that fails takes its own line and no other's; the run then ends with its exception and exit code 1.
    """
    names = sys.argv[1:]
    lines = [line("what", "ours, a row", "times as fast as", "accuracy and notes", "must reach", "limited by")]
    lines.append("|---|---|---|---|---|---|")
    failures: list[Exception] = []
    began = time.perf_counter()
    for name, case in collect(names):
        try:
            lines.append(row(measure(case)))
        except Exception as error:
            failures.append(error)
            lines.append(line(case.name, "failed", "-", f"{type(error).__name__}: {error}", case.must_reach, ""))
        print(f"{name}: {lines[-1]}", flush=True)
    print(f"measured in {time.perf_counter() - began:.0f} s")
    if not names:
        write(lines)
    if failures:
        raise failures[0]


def write(lines: list[str]) -> None:
    """Replace the table in README.md."""
    text = TARGET.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    TARGET.write_text(f"{before}{BEGIN}\n{host()}\n\n" + "\n".join(lines) + f"\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
