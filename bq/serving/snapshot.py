"""The cache on disk: written whole beside the old one and renamed, believed only if its checksum holds.

Rules of this file: losing a snapshot costs recomputation and nothing else, so no failure here reaches a request.

The file is a line that says what it is, records (their length, then MessagePack: the time, then each answer), and a
checksum of the records. It is written and read record by record: encoded in one piece, a full cache of 64 MiB would
take twice that for a moment, every minute.
"""

import logging
import os
import struct
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from bq.serving.cache import Cache, Saved
from bq.serving.desk import Key

_log = logging.getLogger(__name__)

MAGIC: Final = b"butterquant cache 2\n"
DIGEST: Final = 32
PIECE: Final = 1 << 20
"""Bytes that are read at a time for the checksum."""

_LENGTH: Final = struct.Struct("<I")
_record: Final = msgspec.msgpack.Decoder(tuple[Key, Saved])


class Snapshot(msgspec.Struct, frozen=True):
    """What a file holds: when it was written, and the answers."""

    written: float  # wall clock
    answers: list[tuple[Key, Saved]]


def take(cache: Cache[Key], world: str, wall: float) -> Snapshot:
    """Copy the answers of this world; to be called on the loop's thread (bytes are shared, not copied)."""
    return Snapshot(wall, [(key, saved) for key, saved in cache.dump() if key[2] == world])


def write(path: Path, snapshot: Snapshot) -> None:
    """Write a snapshot so that a crash leaves the old one or the new one."""
    beside = path.with_suffix(".new")
    path.parent.mkdir(parents=True, exist_ok=True)
    digest = blake2b(digest_size=DIGEST)
    with beside.open("wb") as file:
        file.write(MAGIC)
        for record in _records(snapshot):
            digest.update(record)
            file.write(record)
        file.write(digest.digest())
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def _records(snapshot: Snapshot) -> Iterator[bytes]:
    encoder = msgspec.msgpack.Encoder()
    for one in (snapshot.written, *snapshot.answers):
        data = encoder.encode(one)
        yield _LENGTH.pack(len(data)) + data


def read(path: Path) -> Snapshot | None:
    """Read a snapshot; None when there is none or it cannot be believed."""
    try:
        with path.open("rb") as file:
            if not _holds(file):
                _log.warning("the snapshot of the cache is damaged and was ignored")
                return None
            return _read(file, file.seek(0, os.SEEK_END) - DIGEST)
    except OSError:
        return None
    except (msgspec.MsgspecError, struct.error) as error:
        _log.warning("the snapshot of the cache cannot be read and was ignored: %s", error)
        return None


def _holds(file: BinaryIO) -> bool:
    """Tell whether a file is what it says, to the last bit."""
    left = file.seek(0, os.SEEK_END) - len(MAGIC) - DIGEST
    file.seek(0)
    if left < 0 or file.read(len(MAGIC)) != MAGIC:
        return False
    digest = blake2b(digest_size=DIGEST)
    while left and (piece := file.read(min(PIECE, left))):
        digest.update(piece)
        left -= len(piece)
    return digest.digest() == file.read()


def _read(file: BinaryIO, end: int) -> Snapshot:
    file.seek(len(MAGIC))
    written = msgspec.msgpack.decode(_next(file), type=float)
    answers = []
    while file.tell() < end:
        answers.append(_record.decode(_next(file)))
    return Snapshot(written, answers)


def _next(file: BinaryIO) -> bytes:
    (length,) = _LENGTH.unpack(file.read(_LENGTH.size))
    return file.read(length)


def restore(cache: Cache[Key], snapshot: Snapshot, world: str, wall: float) -> int:
    """Take back the answers of this world, aged by the time that has passed; give their number.

    A clock that went backwards counts as no time passed: an age is never negative.
    """
    age = max(wall - snapshot.written, 0.0)
    return sum(cache.restore(key, saved, age) for key, saved in snapshot.answers if key[2] == world)
