"""What was being computed when the process died, its last words, and what earlier deaths have shown: in files.

Rules of this file: files and nothing else; what follows from them is `suspects.py`'s. A failure here costs knowledge
and no request.

Each computing thread writes what it begins into its slot of the process's own file and empties the slot afterwards.
The writes go to the page cache without `fsync`: they outlive the process, which is what matters; after a power cut
nobody is to blame. The file is locked as long as its process lives, so that a second server in the same folder does not
take it for a dead one's. An orderly end removes it.

The last words are the interpreter's traceback at a fault in compiled code (`faulthandler`), or a line when the process
ends itself. A process without last words was killed from outside.
"""

import contextlib
import faulthandler
import fcntl
import itertools
import logging
import os
import secrets
import struct
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from bq.serving.suspects import FATAL, LIMIT, UNEXPLAINED, Suspect

_log = logging.getLogger(__name__)

SLOT: Final = 16 * 1024
"""Bytes for each thread: the names of a slice are under 3,000."""

_LENGTH: Final = struct.Struct("<I")

KEEP_S: Final = 86_400.0
"""Seconds after which a suspicion lapses, and a condemned name is tried once more: prices change every day."""


class Kept(msgspec.Struct, frozen=True):
    """The file of what earlier deaths have shown. Other code or another market is another world."""

    world: str
    suspects: dict[str, Suspect]


class BlackBox:
    """The files of one server.

    Parameters
    ----------
    folder
        Where they are.
    """

    def __init__(self, folder: Path) -> None:
        self.failures = 0  # writes that failed
        self._folder = folder
        self._own = folder / f"under_way.{secrets.token_hex(4)}"
        self._file: int | None = None
        self._words: int | None = None
        self._slots = itertools.count()
        self._local = threading.local()

    def read(self, world: str, now: float) -> tuple[dict[str, Suspect], dict[str, int]]:
        """Give what is kept of this world, and what other processes' deaths count against who was under way.

        The files of the dead are there until `keep` has been called: a death in between changes nothing.
        """
        against: dict[str, int] = {}
        for path in self._of_the_dead():
            words = _last_words(path)
            if words:
                _log.error("the process died: %s", words)
            for name in set(_names(path)):
                against[name] = against.get(name, 0) + (FATAL if words else UNEXPLAINED)
        return self._kept(world, now), against

    def keep(self, world: str, suspects: Mapping[str, Suspect]) -> None:
        """Replace what is kept, and remove the files of the dead, which it takes into account."""
        beside = self._folder / "suspects.new"
        try:
            if suspects or self._path.exists():
                beside.write_bytes(msgspec.json.encode(Kept(world, dict(suspects))))
                beside.replace(self._path)
            for path in self._of_the_dead():
                path.unlink()
                _words_of(path).unlink(missing_ok=True)
        except OSError as error:
            self._failed(error)

    def open(self) -> None:
        """Begin the file of this process."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self._own, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._words = os.open(_words_of(self._own), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
            faulthandler.enable(self._words)
        except OSError as error:
            self._failed(error)

    def confess(self, words: str) -> None:
        """Leave last words: the process is going to end itself because of what is under way."""
        if self._words is not None:
            with contextlib.suppress(OSError):
                os.write(self._words, words.encode())

    @contextlib.contextmanager
    def under_way(self, names: Sequence[str]) -> Iterator[None]:
        """Have it on record that this thread computes some names, as long as the block runs."""
        self._write(msgspec.json.encode(names))
        try:
            yield
        finally:
            self._write(b"")

    def close(self, clean: bool) -> None:
        """Let go of the file; after a clean end it says nothing about anybody."""
        if self._words is not None:
            faulthandler.disable()
            words, self._words = self._words, None
            os.close(words)
        if self._file is None:
            return
        if clean:
            for path in (self._own, _words_of(self._own)):
                with contextlib.suppress(OSError):
                    path.unlink()
        file, self._file = self._file, None
        os.close(file)

    @property
    def _path(self) -> Path:
        return self._folder / "suspects.json"

    def _write(self, data: bytes) -> None:
        if self._file is None or len(data) > SLOT - _LENGTH.size:
            return
        if not hasattr(self._local, "slot"):
            self._local.slot = next(self._slots)
        try:
            os.pwrite(self._file, _LENGTH.pack(len(data)) + data, self._local.slot * SLOT)
        except OSError as error:
            self._failed(error)

    def _failed(self, error: OSError) -> None:
        self.failures += 1
        if self.failures == 1:  # a full disk would say so with every slice
            _log.warning("what is being computed cannot be written down: %s", error)

    def _kept(self, world: str, now: float) -> dict[str, Suspect]:
        try:
            kept = msgspec.json.decode(self._path.read_bytes(), type=Kept)
        except OSError:
            return {}
        except msgspec.MsgspecError as error:
            _log.warning("%s cannot be read and is ignored: %s", self._path, error)
            return {}
        if kept.world != world:
            return {}
        fresh = {name: one for name, one in kept.suspects.items() if now - one.last < KEEP_S}
        lapsed = {name: one for name, one in kept.suspects.items() if name not in fresh and one.points >= LIMIT}
        return fresh | {name: Suspect(LIMIT - FATAL, now) for name in lapsed}

    def _of_the_dead(self) -> list[Path]:
        dead = []
        for path in sorted(self._folder.glob("under_way.*")):
            if path == self._own and self._file is not None:
                continue
            with contextlib.suppress(OSError):  # locked: its process lives; gone: another server took it
                file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    dead.append(path)
                finally:
                    os.close(file)
        return dead


def _words_of(path: Path) -> Path:
    return path.with_name(path.name.replace("under_way", "last_words"))


def _last_words(path: Path) -> str:
    try:
        return _words_of(path).read_text(errors="replace").strip()
    except OSError:
        return ""


def _names(path: Path) -> list[str]:
    """Read the names in the slots of a file; what cannot be read was being written, and says nothing."""
    try:
        data = path.read_bytes()
    except OSError:
        return []
    names: list[str] = []
    for start in range(0, len(data) - _LENGTH.size + 1, SLOT):
        (length,) = _LENGTH.unpack_from(data, start)
        with contextlib.suppress(msgspec.MsgspecError):
            text = data[start + _LENGTH.size : start + _LENGTH.size + length]
            names += msgspec.json.decode(text, type=list[str]) if text else []
    return names
