"""Reading the store of scans from the event loop: threads of its own, so that a slow database holds up nobody else.

Rules of this file: it knows no table and no HTTP. What it cannot have in time is `storage_failed`; who asks for
analyses does not notice.
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from sqlalchemy import Connection

from bq.errors import Failure, Problem
from bq.scan.database import UNREACHABLE
from bq.scan.store import Store

T = TypeVar("T")

READERS: Final = 3
QUEUE: Final = 64  # reads that run or wait, beyond which more are refused
PATIENCE_S: Final = 10.0  # for one read
PAUSE_S: Final = 2.0  # after the database failed, in which it is not asked: every read would wait for its time-out


class Archive:
    """The scans of the past, read.

    Parameters
    ----------
    open_store
        Opens the store (blocking); called when it is first needed, and again if that failed.
    clock
        Monotonic seconds.
    """

    def __init__(self, open_store: Callable[[], Store], clock: Callable[[], float]) -> None:
        self.failures = 0  # reads that the database did not answer
        self.waiting = 0  # reads that run or wait
        self._open = open_store
        self._clock = clock
        self._store: Store | None = None
        self._opening = threading.Lock()
        self._threads = ThreadPoolExecutor(READERS, "archive")
        self._paused_until = float("-inf")

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run a function on a connection that reads, in a thread.

        Raises
        ------
        Failure
            `storage_failed` when the database does not answer, `too_busy` when too many reads wait; what `work` raises.
        """
        if self._clock() < self._paused_until:
            raise Failure(Problem("storage_failed", UNREACHABLE, PAUSE_S))
        if self.waiting >= QUEUE:
            raise Failure(Problem("too_busy", f"{QUEUE} requests for stored scans are waiting already.", 1.0))
        self.waiting += 1
        running = asyncio.get_running_loop().run_in_executor(self._threads, self._read, work)
        running.add_done_callback(self._done)
        try:
            async with asyncio.timeout(PATIENCE_S):
                return await asyncio.shield(running)
        except TimeoutError:
            self._fail()
            raise Failure(Problem("storage_failed", UNREACHABLE, PAUSE_S)) from None
        except Failure as failure:
            if failure.problem.code == "storage_failed":
                self._fail()
            raise

    async def close(self) -> None:
        """Take no more reads; what runs is not waited for."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        if self._store is not None and self.waiting == 0:
            self._store.close()

    def _fail(self) -> None:
        self.failures += 1
        self._paused_until = self._clock() + PAUSE_S

    def _done(self, running: "asyncio.Future[T]") -> None:
        """Count it as done, also when nobody waits for it any more; its exception was seen or is of no interest."""
        self.waiting -= 1
        if not running.cancelled():
            running.exception()

    def _read(self, work: Callable[[Connection], T]) -> T:
        with self._opened().database.read() as connection:
            return work(connection)

    def _opened(self) -> Store:
        with self._opening:
            if self._store is None:
                self._store = self._open()
            return self._store
