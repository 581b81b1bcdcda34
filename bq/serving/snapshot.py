"""The cache on disk: written whole beside the old one and renamed, believed only if its checksum holds.

Rules of this file: losing a snapshot costs recomputation and nothing else, so no failure here reaches a request.
"""

import logging
import os
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Final

import msgspec

from bq.serving.cache import Cache, Saved
from bq.serving.desk import Key

_log = logging.getLogger(__name__)

MAGIC: Final = b"butterquant cache 1\n"
DIGEST: Final = 32


class Snapshot(msgspec.Struct, frozen=True, array_like=True):
    """What a file holds: when it was written, and the answers."""

    written: float  # wall clock
    answers: list[tuple[Key, Saved]]


def take(cache: Cache[Key], world: str, wall: float) -> Snapshot:
    """Copy the answers of this world; to be called on the loop's thread (bytes are shared, not copied)."""
    return Snapshot(wall, [(key, saved) for key, saved in cache.dump() if key[2] == world])


def write(path: Path, snapshot: Snapshot) -> None:
    """Write a snapshot so that a crash leaves the old one or the new one."""
    body = msgspec.msgpack.encode(snapshot)
    beside = path.with_suffix(".new")
    path.parent.mkdir(parents=True, exist_ok=True)
    with beside.open("wb") as file:
        file.write(MAGIC + blake2b(body, digest_size=DIGEST).digest() + body)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def read(path: Path) -> Snapshot | None:
    """Read a snapshot; None when there is none or it cannot be believed."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    start = len(MAGIC) + DIGEST
    body = data[start:]
    if data[: len(MAGIC)] != MAGIC or blake2b(body, digest_size=DIGEST).digest() != data[len(MAGIC) : start]:
        _log.warning("the snapshot of the cache is damaged and was ignored")
        return None
    try:
        return msgspec.msgpack.decode(body, type=Snapshot)
    except msgspec.MsgspecError as error:
        _log.warning("the snapshot of the cache cannot be read and was ignored: %s", error)
        return None


def restore(cache: Cache[Key], snapshot: Snapshot, world: str, wall: float) -> int:
    """Take back the answers of this world, aged by the time that has passed; give their number.

    A clock that went backwards counts as no time passed: an age is never negative.
    """
    age = max(wall - snapshot.written, 0.0)
    answers: Sequence[tuple[Key, Saved]] = snapshot.answers
    return sum(cache.restore(key, saved, age) for key, saved in answers if key[2] == world)
