"""The ranks, tiers and clusters of a scan, worked out once when it ends.

Rules of this file: it reads and writes the rows of one scan. What it writes depends on these rows alone, so working it
out again changes nothing.
"""

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec
import numpy as np
from sqlalchemy import Connection, bindparam, select, update

from bq.scan.clusters import clusters
from bq.scan.packing import unpack
from bq.scan.ranks import ranked
from bq.scan.tables import answers, results

PAGE: Final = 64  # answers in memory at a time
CLUSTERED: Final = 1000  # names, the best of a scan: the work and the memory grow with their square


class _Point(msgspec.Struct):
    date: str
    actual: float


class _Charts(msgspec.Struct):
    fourier: list[_Point]


class _Closes(msgspec.Struct):
    """As much of an answer as is needed: its last 120 closes."""

    chart_data: _Charts | None = None


_decoder: Final = msgspec.json.Decoder(_Closes)


def closes_of(connection: Connection, scan_id: str) -> dict[str, dict[str, float]]:
    """Read the recent closes of each ticker of a scan, by date."""
    found: dict[str, dict[str, float]] = {}
    for ticker, codec, body in _bodies(connection, scan_id):
        charts = _decoder.decode(unpack(codec, body)).chart_data
        if charts is not None:
            found[ticker] = {point.date: point.actual for point in charts.fourier}
    return found


def _bodies(connection: Connection, scan_id: str) -> Iterator[Any]:
    last = ""
    while True:
        query = (
            select(answers.c.ticker, answers.c.codec, answers.c.body)
            .where(answers.c.scan_id == scan_id, answers.c.ticker > last)
            .order_by(answers.c.ticker)
            .limit(PAGE)
        )
        page: Sequence[Any] = connection.execute(query).all()
        yield from page
        if len(page) < PAGE:
            return
        last = page[-1].ticker


def write(connection: Connection, scan_id: str, closes: dict[str, dict[str, float]]) -> None:
    """Rank the analyses of a scan and say which of them move together."""
    query = (
        select(results.c.ticker, results.c.score, results.c.score_low, results.c.score_high)
        .where(results.c.scan_id == scan_id, results.c.score.is_not(None))
        .order_by(results.c.score.desc(), results.c.ticker)
    )
    rows = connection.execute(query).all()
    if not rows:
        return
    table = np.array([row[1:] for row in rows], np.float64)
    seed = int.from_bytes(hashlib.blake2b(scan_id.encode(), digest_size=8).digest())
    found = ranked(table[:, 0], table[:, 1], table[:, 2], seed)
    names = [row.ticker for row in rows]
    together = clusters([closes.get(name, {}) for name in names[:CLUSTERED]]).tolist()
    together += range(len(set(together)) + 1, len(set(together)) + 1 + len(names) - len(together))
    columns = {
        "rank": found.rank,
        "tied": np.bincount(found.rank)[found.rank],
        "rank_low": found.low,
        "rank_high": found.high,
        "tier": found.tier,
        "cluster": together,
    }
    changes = [
        {"the_ticker": name} | {key: None if column is None else int(column[i]) for key, column in columns.items()}
        for i, name in enumerate(names)
    ]
    statement = (
        update(results)
        .where(results.c.scan_id == scan_id, results.c.ticker == bindparam("the_ticker"))
        .values({key: bindparam(key) for key in columns})
    )
    connection.execute(statement, changes)
