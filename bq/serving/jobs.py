"""Tasks: lists that are answered later. Accepted means stored; a restart goes on where the last process was killed.

Rules of this file: the life of a task on the event loop. The database is used from one thread of its own; HTTP is in
`task_handlers.py`.
"""

import asyncio
import logging
import secrets
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, TypeVar

from bq.errors import Failure, Problem
from bq.serving import wire
from bq.serving.cache import Entry
from bq.serving.desk import Desk
from bq.serving.flights import Rank
from bq.serving.requests import check_symbol
from bq.serving.task_store import StoredItem, StoredTask, TaskStore

T = TypeVar("T")

_log = logging.getLogger(__name__)

BLOCK: Final = 64  # tickers that a task asks for at a time; stored together
AT_ONCE: Final = 4  # tasks that run at the same time; the batcher gives them turns
PATIENCE_S: Final = 120.0  # for a block
TRIES: Final = 5  # for tickers that the server was too busy for
KEEP_S: Final = 86_400.0  # results of finished tasks
MAX_TASKS: Final = 1000


class Progress:
    """How far a task is, for whoever watches it."""

    def __init__(self, total: int, done: int = 0) -> None:
        self.total = total
        self.done = done
        self.finished = False
        self._watchers: set[asyncio.Future[None]] = set()

    def move(self, done: int, finished: bool = False) -> None:
        """Note progress and wake the watchers."""
        self.done, self.finished = done, finished
        for watcher in self._watchers:
            if not watcher.done():
                watcher.set_result(None)
        self._watchers.clear()

    async def changed(self, within_s: float) -> None:
        """Wait for the next progress, at most so long."""
        if self.finished:
            return
        watcher = asyncio.get_running_loop().create_future()
        self._watchers.add(watcher)
        try:
            await asyncio.wait((watcher,), timeout=within_s)
        finally:
            self._watchers.discard(watcher)


class Jobs:
    """Accept tasks, work them off behind the interactive requests, and keep their results for a day.

    Parameters
    ----------
    path
        The database's file.
    wall
        Seconds since 1970.
    """

    def __init__(self, path: Path, desk: Desk, clock: Callable[[], float], wall: Callable[[], float]) -> None:
        self.running: dict[str, Progress] = {}
        self.failures = 0  # of the database
        self._path = path
        self._desk = desk
        self._clock = clock
        self._wall = wall
        self._store: TaskStore | None = None
        self._thread = ThreadPoolExecutor(1, "tasks")
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._work: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Open the database and go on with what was not finished; without it there are no tasks, but all else."""
        try:
            self._store = await self._in_thread(TaskStore, self._path)
            await self._in_thread(self._store.forget_before, self._wall() - KEEP_S)
            for task in await self._in_thread(self._store.unfinished):
                self._begin(task, Progress(len(task.tickers)))
        except (OSError, sqlite3.Error):
            self.failures += 1
            _log.exception("tasks cannot be stored in %s", self._path)

    async def accept(self, tickers: list[str], detail: str, is_list: bool, idempotency_key: str | None) -> str:
        """Store a task and start it; give its id.

        Raises
        ------
        Failure
            `too_busy` with too many tasks, `not_ready` when it cannot be stored. Nothing was accepted then.
        """
        if self._store is None:
            raise Failure(Problem("not_ready", "Tasks cannot be stored on this server at the moment.", 60.0))
        if len(self.running) >= MAX_TASKS:
            raise Failure(Problem("too_busy", f"{MAX_TASKS} tasks are waiting already.", 60.0))
        task = StoredTask(secrets.token_hex(16), detail, is_list, tickers)
        try:
            task_id = await self._in_thread(self._store.add, task, idempotency_key, self._wall())
        except sqlite3.Error:
            self.failures += 1
            _log.exception("a task could not be stored")
            raise Failure(Problem("not_ready", "The task could not be stored.", 10.0)) from None
        if task_id == task.id:
            self._begin(task, Progress(len(tickers)))
        return task_id

    async def find(self, task_id: str) -> tuple[StoredTask, Progress] | None:
        """Give a task and how far it is; None when there is none."""
        if self._store is None:
            return None
        task = await self._in_thread(self._store.get, task_id)
        if task is None:
            return None
        progress = self.running.get(task_id)
        if progress is None:
            progress = Progress(len(task.tickers), len(task.tickers))
            progress.finished = task.finished is not None
        return task, progress

    async def result(self, task: StoredTask) -> bytes:
        """Join what a synchronous request would have been answered."""
        assert self._store is not None
        items = await self._in_thread(self._store.items, task.id)
        if not task.is_list:
            return items[0].item
        return wire.many([item.item for item in items], sum(item.failed for item in items), 0)

    def wake(self) -> None:
        """Wake whoever watches a task, so that their streams can end."""
        for progress in self.running.values():
            progress.move(progress.done)

    async def close(self) -> None:
        """Stop working; what is not finished goes on at the next start."""
        for work in self._work:
            work.cancel()
        if self._work:
            await asyncio.wait(self._work)
        if self._store is not None:
            await self._in_thread(self._store.close)
        self._thread.shutdown(wait=False)

    async def _in_thread(self, work: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)

    def _begin(self, task: StoredTask, progress: Progress) -> None:
        self.running[task.id] = progress
        work = asyncio.get_running_loop().create_task(self._run(task, progress))
        self._work.add(work)
        work.add_done_callback(self._work.discard)

    async def _run(self, task: StoredTask, progress: Progress) -> None:
        store = self._store
        assert store is not None
        try:
            async with self._turns:
                have = {item.position for item in await self._in_thread(store.items, task.id)}
                todo = [position for position in range(len(task.tickers)) if position not in have]
                progress.move(len(have))
                for start in range(0, len(todo), BLOCK):
                    items = await self._block(task, todo[start : start + BLOCK])
                    await self._in_thread(store.put_items, task.id, items)
                    progress.move(progress.done + len(items))
                await self._in_thread(store.finish, task.id, self._wall())
                progress.move(progress.total, finished=True)
        except sqlite3.Error:
            self.failures += 1
            _log.exception("task %s stopped; it goes on at the next start", task.id)
        finally:
            self.running.pop(task.id, None)

    async def _block(self, task: StoredTask, positions: list[int]) -> list[StoredItem]:
        items: dict[int, StoredItem] = {}
        for attempt in range(1, TRIES + 1):
            todo = [position for position in positions if position not in items]
            wait = await self._ask(task, todo, items, last=attempt == TRIES)
            if len(items) == len(positions):
                break
            await asyncio.sleep(wait)
        return [items[position] for position in positions]

    async def _ask(self, task: StoredTask, todo: list[int], items: dict[int, StoredItem], last: bool) -> float:
        """Ask for some positions of a task; those that the server is too busy for are left for the next try."""
        tickers = [task.tickers[position] for position in todo]
        problems = {i: problem for i, ticker in enumerate(tickers) if (problem := check_symbol(ticker))}
        looked = self._desk.look(tickers, task.detail, problems)
        if looked.missing:
            await self._desk.wait(looked, self._clock() + PATIENCE_S, owner=task.id, rank=Rank.SCAN)
        wait = 1.0
        late = Problem("too_busy", "The server had no time for this ticker.", 60.0)
        for position, ticker, answer, cached in zip(todo, tickers, looked.answers, looked.cached, strict=True):
            if not last and (answer is None or (isinstance(answer, Problem) and answer.code == "too_busy")):
                wait = max(wait, (answer and answer.retry_after) or 0.0)
                continue
            items[position] = _stored(task, position, ticker, answer or late, cached)
        return wait


def _stored(task: StoredTask, position: int, ticker: str, answer: Entry | Problem, cached: bool) -> StoredItem:
    failed = isinstance(answer, Problem)
    if task.is_list:
        return StoredItem(position, failed, wire.item(ticker, answer, cached))
    return StoredItem(
        position, failed, wire.error(answer) if isinstance(answer, Problem) else wire.one(answer.data, cached)
    )
