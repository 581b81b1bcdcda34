"""What every door of the kernels promises about its rows, as checks that any door can be put to.

A row is computed as if it were alone: it has the same bits in any batch, at any place, on any thread, whether the code
was compiled just now or loaded from the cache; and what is wrong with it, NaN or infinity in any of its inputs, changes
no other row.
"""

import hashlib
import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Door:
    """A public function of a kernel module, and rows to put through it."""

    name: str
    answer: Callable[..., Any]
    """Takes the columns, gives an array or a NamedTuple of arrays; the first axis of each is the rows."""
    columns: Callable[[], Sequence[np.ndarray]]
    """Makes the rows, always the same ones: columns of shape (n,) or (n, t). Good, bad and odd rows together."""
    sizes: Sequence[int] = field(default=(1, 7, 63, 64, 65))
    """Batches to cut the rows into: with a block of L lanes, 1, L - 1, L and L + 1 among them."""

    def __str__(self) -> str:
        return self.name

    def bits(self, columns: Sequence[np.ndarray]) -> np.ndarray:
        """Answer; what each row got, as bytes: (n, width) uint8."""
        answer = self.answer(*columns)
        n = len(columns[0])
        fields = answer if isinstance(answer, tuple) else (answer,)
        for result in fields:
            assert len(result) == n, f"{self.name}: {len(result)} results for {n} rows"
        return np.hstack([np.ascontiguousarray(f).reshape(n, -1).view(np.uint8).reshape(n, -1) for f in fields])


def assert_same_bits_in_any_batch(door: Door) -> None:
    """Cut the rows into batches of other sizes; each row shall have the bits it has in the whole."""
    columns = door.columns()
    n, whole = len(columns[0]), door.bits(columns)
    for size in door.sizes:
        assert size < n, f"{n} rows do not fill a batch of {size}"
        for start in range(0, n, size):
            part = door.bits([c[start : start + size] for c in columns])
            _same(door, whole[start : start + size], part, f"in batches of {size}", start)


def assert_same_bits_in_any_place(door: Door) -> None:
    """Reverse, shuffle and repeat the rows; each shall keep its bits."""
    columns = door.columns()
    n, whole = len(columns[0]), door.bits(columns)
    shuffled = np.random.default_rng(0).permutation(n)
    for order in (np.arange(n)[::-1], shuffled, np.full(n, shuffled[0]), np.full(n, shuffled[1])):
        _same(door, whole[order], door.bits([c[order] for c in columns]), "at another place")


def assert_same_bits_on_any_thread(door: Door, threads: int = 4, calls: int = 12) -> None:
    """Call from many threads at once, each with its own cut of the rows."""
    columns = door.columns()
    n, whole = len(columns[0]), door.bits(columns)
    starts = [k * (n // 2) // calls for k in range(calls)]
    with ThreadPoolExecutor(threads) as pool:
        parts = list(pool.map(lambda start: door.bits([c[start:] for c in columns]), starts))
    for start, part in zip(starts, parts, strict=True):
        _same(door, whole[start:], part, "on another thread", start)


def assert_a_bad_input_stays_in_its_row(door: Door) -> None:
    """Put NaN and the infinities into one row of one column after another; every other row shall keep its bits.

    In a column of series or of several values a row, it is put first and in the middle.
    """
    columns = door.columns()
    n, whole = len(columns[0]), door.bits(columns)
    row = n // 2
    others = np.arange(n) != row
    for place, column in enumerate(columns):
        if column.dtype.kind != "f":
            continue
        for value in (np.nan, np.inf, -np.inf):
            for within in [()] if column.ndim == 1 else [(0,), (column.shape[1] // 2,)]:
                spoilt = list(columns)
                spoilt[place] = column.copy()
                spoilt[place][(row, *within)] = value
                _same(door, whole[others], door.bits(spoilt)[others], f"beside {value} in column {place}")


def assert_same_bits_fresh_and_from_the_cache(doors: str) -> None:
    """Answer in a process that compiles afresh and in one that loads; every door shall have the same bits.

    Parameters
    ----------
    doors : str
        Name of the module that has them, as `DOORS`.
    """
    loaded, misses = _digests(doors, cache=True)
    if misses:  # a cold cache: that process has filled it
        loaded, misses = _digests(doors, cache=True)
    fresh, compiled = _digests(doors, cache=False)
    assert misses == 0
    assert compiled > 0
    assert fresh.keys() == {door.name for door in importlib.import_module(doors).DOORS}
    assert [name for name in fresh if fresh[name] != loaded[name]] == []


def _same(door: Door, want: np.ndarray, got: np.ndarray, where: str, first: int = 0) -> None:
    wrong = np.flatnonzero((want != got).any(axis=1))
    assert not wrong.size, f"{door.name}: {wrong.size} rows differ {where}, row {first + wrong[0]} first"


def _digests(doors: str, *, cache: bool) -> tuple[dict[str, str], int]:
    """Hash the bits of every door in a process of its own; and how many kernels it had to compile."""
    environment = {**os.environ, "BQ_KERNEL_CACHE": "on" if cache else "off"}
    command = [sys.executable, "-m", "tests.kernels.isolation", doors]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    answer = json.loads(done.stdout.splitlines()[-1])
    return answer["digests"], answer["compiled"]


def main() -> None:
    """Print the digests of the doors of a module and the number of kernels that were not in the cache."""
    doors = importlib.import_module(sys.argv[1]).DOORS
    digests = {door.name: hashlib.sha256(door.bits(door.columns()).tobytes()).hexdigest() for door in doors}
    from kernels import _jit

    cached = os.environ.get("BQ_KERNEL_CACHE") != "off"
    print(json.dumps({"digests": digests, "compiled": _jit.cache_misses() if cached else len(_jit.compiled)}))


if __name__ == "__main__":
    main()
