"""The table of bench-serving in README.md: each part's lines are replaced when the part is run."""

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

TARGET = Path(__file__).parent / "README.md"
BEGIN, END = "<!-- serving -->", "<!-- /serving -->"
HEAD = "| part | what | figure | must reach |\n|---|---|---|---|\n"
ORDER = ("cached", "clients", "flood", "cold_list", "busy", "memory", "start", "environment")


class Row(NamedTuple):
    """One line: what was measured, what came out, and what the design asks for."""

    what: str
    figure: str
    must_reach: str


def write(part: str, rows: Sequence[Row]) -> None:
    """Replace the lines of one part."""
    text = TARGET.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    table, _, after = rest.partition(END)
    lines = [line for line in table.splitlines() if line.startswith("| ")]
    kept = [line for line in lines[1:] if line.split(" | ")[0] != f"| {part}"]
    today = dt.datetime.now(dt.UTC).date()
    kept += [f"| {part} | {row.what} | {row.figure} ({today}) | {row.must_reach} |" for row in rows]
    kept.sort(key=lambda line: ORDER.index(line.split(" | ")[0][2:]))
    TARGET.write_text(f"{before}{BEGIN}\n{HEAD}" + "\n".join(kept) + f"\n{END}{after}", encoding="utf-8")
