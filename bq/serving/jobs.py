"""Tasks: lists that are answered later. Accepted means stored; a restart goes on where the last process was killed.

Rules of this file: the life of a task on the event loop. The database is used from one thread of its own; HTTP is in
`task_handlers.py`.
"""

import asyncio
import logging
import secrets
import sqlite3
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from bq.errors import Failure, Problem
from bq.serving import wire
from bq.serving.bell import Bell
from bq.serving.cache import Entry
from bq.serving.desk import Desk
from bq.serving.flights import Rank
from bq.serving.task_store import StoredItem, StoredTask, TaskStore
from bq.symbols import check_symbol

T = TypeVar("T")

_log = logging.getLogger(__name__)

BLOCK: Final = 64  # tickers that a task asks for at a time; stored together
AT_ONCE: Final = 4  # tasks that run at the same time; the batcher gives them turns
PATIENCE_S: Final = 120.0  # for a block
AGAIN_S: Final = 10.0  # after a task could not go on
TRIES: Final = 5  # for tickers that the server was too busy for
KEEP_S: Final = 86_400.0  # results of finished tasks
FORGET_S: Final = 3600.0  # between two times that older ones are deleted
MAX_TASKS: Final = 1000

NO_SUCH_TASK: Final = Problem("not_found", "There is no such task. Results are kept for a day.")
UNREADABLE: Final = Problem("not_ready", "Tasks cannot be read on this server at the moment.", 5.0)


class Progress:
    """How far a task is, for whoever watches it."""

    def __init__(self, total: int, done: int = 0) -> None:
        self.total = total
        self.done = done
        self.finished = False
        self._bell = Bell()

    def move(self, done: int, finished: bool = False) -> None:
        """Note progress and wake the watchers."""
        self.done, self.finished = done, finished
        self._bell.ring()

    async def changed(self, within_s: float) -> None:
        """Wait for the next progress, at most so long."""
        if not self.finished:
            await self._bell.wait(within_s)


class Watched(NamedTuple):
    """A task as whoever watches it sees it, whichever part of the server does it."""

    total: int
    done: Callable[[], int]
    finished: Callable[[], bool]
    changed: Callable[[float], Awaitable[None]]
    """Waits for the next progress, at most so many seconds."""
    result: Callable[[], Awaitable[bytes]]


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
        self._forget_at = 0.0
        self._path = path
        self._desk = desk
        self._clock = clock
        self._wall = wall
        self._store: TaskStore | None = None
        self._thread = ThreadPoolExecutor(1, "tasks")
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._work: set[asyncio.Task[Any]] = set()

    async def open(self) -> None:
        """Open the database and go on with what was not finished; without it there are no tasks, but all else."""
        try:
            self._store = await self._in_thread(TaskStore, self._path)
            await self._forget()
            for task in await self._in_thread(self._store.unfinished):
                self._begin(task)
        except (OSError, sqlite3.Error, msgspec.MsgspecError):
            self.failures += 1
            _log.exception("tasks cannot be stored in %s", self._path)

    async def accept(self, tickers: list[str], detail: str, is_list: bool, idempotency_key: str | None) -> str:
        """Store a task and start it; give its id.

        Raises
        ------
        Failure
            `too_busy` with too many tasks, `not_ready` when it cannot be stored, `conflict` when the idempotency key is
            that of another request. Nothing was accepted then.
        """
        if self._store is None:
            raise Failure(Problem("not_ready", "Tasks cannot be stored on this server at the moment.", 60.0))
        if len(self.running) >= MAX_TASKS:
            raise Failure(Problem("too_busy", f"{MAX_TASKS} tasks are waiting already.", 60.0))
        task = StoredTask(secrets.token_hex(16), detail, is_list, tickers)
        # A caller that leaves now must not leave behind a task that is stored and never begun.
        accepted = await asyncio.shield(self._spawn(self._accept(task, idempotency_key)))
        if isinstance(accepted, Problem):
            raise Failure(accepted)
        return accepted

    async def _accept(self, task: StoredTask, idempotency_key: str | None) -> str | Problem:
        assert self._store is not None
        try:
            stored = await self._in_thread(self._store.add, task, idempotency_key, self._wall())
        except sqlite3.Error:
            self.failures += 1
            _log.exception("a task could not be stored")
            return Problem("not_ready", "The task could not be stored.", 10.0)
        if (stored.detail, stored.is_list, stored.tickers) != (task.detail, task.is_list, task.tickers):
            return Problem("conflict", "This Idempotency-Key belongs to a task for other tickers or another detail.")
        if stored.finished is None and stored.id not in self.running:
            self._begin(stored)
        if self._wall() > self._forget_at:
            self._spawn(self._forget())
        return stored.id

    async def _forget(self) -> None:
        """Delete old results, once an hour."""
        self._forget_at = self._wall() + FORGET_S
        try:
            await self._in_thread(self._store.forget_before, self._wall() - KEEP_S)  # type: ignore[union-attr]
        except sqlite3.Error:
            self.failures += 1
            _log.exception("old tasks could not be deleted")

    @property
    def is_open(self) -> bool:
        """Tell whether tasks can be looked up: not before the database is open, nor without one."""
        return self._store is not None

    async def find(self, task_id: str) -> tuple[StoredTask, Progress] | None:
        """Give a task and how far it is; None when there is none."""
        if self._store is None:
            return None
        task = await self._in_thread(self._store.get, task_id)
        if task is None:
            return None
        if task.finished is None:
            progress = self.running.get(task_id) or self._begin(task)
        else:
            progress = Progress(len(task.tickers), len(task.tickers))
            progress.finished = True
        return task, progress

    async def result(self, task: StoredTask) -> bytes:
        """Join what a synchronous request would have been answered.

        Raises
        ------
        Failure
            `not_found`, when its day has passed since it was looked up.
        """
        assert self._store is not None
        items = await self._in_thread(self._store.items, task.id)
        if len(items) != len(task.tickers):
            raise Failure(NO_SUCH_TASK)
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

    def _begin(self, task: StoredTask) -> Progress:
        progress = self.running[task.id] = Progress(len(task.tickers))
        self._spawn(self._run(task, progress))
        return progress

    def _spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.get_running_loop().create_task(work)
        self._work.add(task)
        task.add_done_callback(self._work.discard)
        return task

    async def _run(self, task: StoredTask, progress: Progress) -> None:
        try:
            while not progress.finished:
                try:
                    async with self._turns:
                        await self._work_off(task, progress)
                except Exception:  # a full disk, or a defect: what was accepted is not given up
                    self.failures += 1
                    _log.exception("task %s cannot go on; it is tried again", task.id)
                    await asyncio.sleep(AGAIN_S)
        finally:
            self.running.pop(task.id, None)

    async def _work_off(self, task: StoredTask, progress: Progress) -> None:
        store = self._store
        assert store is not None
        have = {item.position for item in await self._in_thread(store.items, task.id)}
        todo = [position for position in range(len(task.tickers)) if position not in have]
        progress.move(len(have))
        for start in range(0, len(todo), BLOCK):
            items = await self._block(task, todo[start : start + BLOCK])
            await self._in_thread(store.put_items, task.id, items)
            progress.move(progress.done + len(items))
        await self._in_thread(store.finish, task.id, self._wall())
        progress.move(progress.total, finished=True)

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
    return StoredItem(position, failed, wire.error(answer) if isinstance(answer, Problem) else wire.one(answer, cached))
