"""Tasks on disk: what was accepted is there before the caller hears of it, and survives `kill -9` and power cuts.

Rules of this file: SQLite and nothing else; blocking, and used from one thread only (`jobs.py` sees to that). Items are
stored once, as the bytes that will be sent; storing the same item twice changes nothing, so work may be repeated.
"""

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS tasks (
    id TEXT PRIMARY KEY, idempotency_key TEXT UNIQUE, created REAL NOT NULL, finished REAL,
    detail TEXT NOT NULL, is_list INTEGER NOT NULL, tickers BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS items (
    task TEXT NOT NULL REFERENCES tasks(id) ON DELETE CASCADE, position INTEGER NOT NULL, failed INTEGER NOT NULL,
    item BLOB NOT NULL, PRIMARY KEY (task, position)
) WITHOUT ROWID;
"""


class StoredTask(msgspec.Struct, frozen=True):
    """A task as it was accepted."""

    id: str
    detail: str
    is_list: bool
    tickers: list[str]
    finished: float | None = None


class StoredItem(msgspec.Struct, frozen=True):
    """One finished item of a task."""

    position: int
    failed: bool
    item: bytes


class TaskStore:
    """The tasks of one server in one file."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path, isolation_level=None, timeout=5.0)
        # FULL: a commit is on the disk when it returns, which is what "202 Accepted" promises.
        for statement in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            self._db.execute(f"PRAGMA {statement}").fetchall()
        self._db.executescript(_SCHEMA)

    def add(self, task: StoredTask, idempotency_key: str | None, created: float) -> StoredTask:
        """Store a task and give it back: the older one, where the idempotency key is known."""
        self._db.execute(
            "INSERT INTO tasks (id, idempotency_key, created, detail, is_list, tickers) VALUES (?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (idempotency_key) DO NOTHING",
            (task.id, idempotency_key, created, task.detail, task.is_list, msgspec.json.encode(task.tickers)),
        )
        if idempotency_key is None:
            return task
        row = self._db.execute(
            "SELECT id, detail, is_list, tickers, finished FROM tasks WHERE idempotency_key = ?", (idempotency_key,)
        ).fetchone()
        return _task(row)

    def get(self, task_id: str) -> StoredTask | None:
        """Give a task, or None."""
        row = self._db.execute(
            "SELECT id, detail, is_list, tickers, finished FROM tasks WHERE id = ?", (task_id,)
        ).fetchone()
        return None if row is None else _task(row)

    def unfinished(self) -> list[StoredTask]:
        """Give the tasks that were accepted and are not done, oldest first."""
        rows = self._db.execute(
            "SELECT id, detail, is_list, tickers, finished FROM tasks WHERE finished IS NULL ORDER BY created"
        )
        return [_task(row) for row in rows]

    def items(self, task_id: str) -> list[StoredItem]:
        """Give the finished items of a task in order."""
        rows = self._db.execute("SELECT position, failed, item FROM items WHERE task = ? ORDER BY position", (task_id,))
        return [StoredItem(position, bool(failed), bytes(item)) for position, failed, item in rows]

    def put_items(self, task_id: str, items: Sequence[StoredItem]) -> None:
        """Store finished items; the first answer to a position stands."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            self._db.executemany(
                "INSERT INTO items (task, position, failed, item) VALUES (?, ?, ?, ?) "
                "ON CONFLICT (task, position) DO NOTHING",
                [(task_id, item.position, item.failed, item.item) for item in items],
            )
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def finish(self, task_id: str, when: float) -> None:
        """Note that a task is done."""
        self._db.execute("UPDATE tasks SET finished = ? WHERE id = ?", (when, task_id))

    def forget_before(self, when: float) -> int:
        """Delete the tasks that were finished before a moment; give their number."""
        return self._db.execute("DELETE FROM tasks WHERE finished < ?", (when,)).rowcount

    def close(self) -> None:
        """Close the file."""
        self._db.close()


def _task(row: tuple[str, str, int, bytes, float | None]) -> StoredTask:
    return StoredTask(row[0], row[1], bool(row[2]), msgspec.json.decode(row[3], type=list[str]), row[4])
