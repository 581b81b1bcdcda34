"""The store, awaited: a thread of its own for it, and patience while its database does not answer.

Rules of this file: the only place from which a scan calls the store. What is written here is written in order, one call
after the other; nothing of it ever runs on the event loop.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

from bq.errors import Failure
from bq.scan.store import Store

T = TypeVar("T")

_log = logging.getLogger(__name__)

FIRST_PAUSE_S: Final = 0.5
LONGEST_PAUSE_S: Final = 30.0


class Ledger:
    """One store and whoever waits for it.

    Parameters
    ----------
    open_store
        Opens the store (blocking); called when it is first needed, and again after it failed.
    in_thread
        Runs a blocking function elsewhere; a thread of its own when None. (For tests without threads.)
    """

    def __init__(
        self,
        open_store: Callable[[], Store],
        in_thread: Callable[[Callable[[], Any]], Awaitable[Any]] | None = None,
    ) -> None:
        self.failures = 0  # calls that the database did not answer
        self.waiting = False  # for the database to answer again
        self._open = open_store
        self._store: Store | None = None
        self._pool = None if in_thread else ThreadPoolExecutor(1, "scans")
        self._in_thread = in_thread or self._in_pool

    async def call(self, work: Callable[[Store], T]) -> T:
        """Do one thing with the store.

        Raises
        ------
        Failure
            `storage_failed` when the database does not answer, and what `work` raises.
        """
        try:
            result: T = await self._in_thread(lambda: work(self._opened()))
        except Failure as failure:
            if failure.problem.code == "storage_failed":
                self.failures += 1
                self.waiting = True
            raise
        self.waiting = False
        return result

    async def patiently(self, work: Callable[[Store], T]) -> T:
        """Do one thing with the store, however long its database does not answer."""
        pause = FIRST_PAUSE_S
        while True:
            try:
                return await self.call(work)
            except Failure as failure:
                if failure.problem.code != "storage_failed":
                    raise
                _log.warning("the store of scans does not answer; next try in %.1f s", pause)
            await asyncio.sleep(pause)
            pause = min(2.0 * pause, LONGEST_PAUSE_S)

    async def run(self, work: Callable[[], Any]) -> None:
        """Do something else after what is being done with the store, in the same thread."""
        await self._in_thread(work)

    async def close(self) -> None:
        """Let go of the store; a call that is under way is not waited for."""
        if self._pool is not None:
            self._pool.submit(self._close)
            self._pool.shutdown(wait=False)
        else:
            self._close()

    def _opened(self) -> Store:
        if self._store is None:
            self._store = self._open()
        return self._store

    def _close(self) -> None:
        if self._store is not None:
            self._store.close()

    async def _in_pool(self, work: Callable[[], Any]) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)
