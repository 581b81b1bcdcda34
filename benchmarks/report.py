"""Run every case and write the table: `make bench`, or `python -m benchmarks.report garch arima` for some."""

import importlib
import os
import platform
import sys
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
    notes = "<br>".join(text for text in (result.accuracy, result.case.notes) if text)
    cells = (result.case.name, duration(result.seconds_per_row), ratios, notes, result.case.must_reach)
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
    return f"{cpu}, {cores} cores, compiled for {_jit.host()}; Python {platform.python_version()}, {versions}."


def main() -> None:
    """Measure, print, and replace the table in README.md (only when everything was run)."""
    names = sys.argv[1:]
    lines = ["| what | ours, a row | times as fast as | accuracy and notes | must reach |", "|---|---|---|---|---|"]
    for name, case in collect(names):
        result = measure(case)
        lines.append(row(result))
        print(f"{name}: {lines[-1]}", flush=True)
    if names:
        return
    text = TARGET.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    TARGET.write_text(f"{before}{BEGIN}\n{host()}\n\n" + "\n".join(lines) + f"\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
