"""A scan as a task that can be watched, wherever it runs: here, in another process, or here again after a restart.

Rules of this file: reading only. `scans.py` runs scans; what it does not run is known from the store.
"""

import contextlib

import msgspec

from bq.errors import Failure
from bq.scan import overview
from bq.scan.records import ScanSummary
from bq.scan.scanner import Scanner
from bq.serving.jobs import Watched
from bq.serving.scan_status import ended
from bq.serving.scans import Scans


async def watch(scans: Scans, scan_id: str) -> Watched | None:
    """Give a scan as a task that can be watched; None when there is none.

    Raises
    ------
    Failure
        `storage_failed`, when the database does not answer.
    """
    watcher = _Watcher(scans, scan_id)
    if watcher.scanner is None:
        await watcher.look()
    if watcher.scanner is None and watcher.found is None:
        return None
    return Watched(watcher.total, watcher.done, watcher.finished, watcher.changed, watcher.result)


class _Watcher:
    """One scan as the scanner that runs it sees it, or as the store knew it at the last look."""

    def __init__(self, scans: Scans, scan_id: str) -> None:
        self.found: ScanSummary | None = None
        self._scans = scans
        self._id = scan_id
        self._done = 0

    @property
    def scanner(self) -> Scanner | None:
        """What runs it in this process, if anything does."""
        running = self._scans.current
        return running if running is not None and running.spec.scan_id == self._id else None

    @property
    def total(self) -> int:
        """How many tickers it has."""
        if (scanner := self.scanner) is not None:
            return scanner.total
        return 0 if self.found is None else self.found.total

    def done(self) -> int:
        """Say how many of them are done; never fewer than were told before."""
        if (scanner := self.scanner) is not None:
            self._done = max(self._done, scanner.done)
        elif self.found is not None:
            self._done = max(self._done, self.found.done)
        return self._done

    def finished(self) -> bool:
        """Tell whether it has ended: one that was only interrupted has not, and goes on after the restart."""
        return self.scanner is None and self.found is not None and self.found.finished_at is not None

    async def changed(self, within_s: float) -> None:
        """Wait for news, at most so long; where it does not run here, the store is asked for them."""
        if self.scanner is not None or self.found is not None:  # else it has just ended here: that is news
            await self._scans.bell.wait(within_s)
        if self.scanner is None:
            # A database that does not answer has no news: what was known stands until the next look.
            with contextlib.suppress(Failure):
                await self.look()

    async def look(self) -> None:
        """Look it up in the store."""
        self.found = await self._scans.find(self._id)

    async def result(self) -> bytes:
        """Tell what it came to; its rows are in the rankings."""
        scan_id = self._id
        found = await self._scans.find(scan_id)
        assert found is not None
        counts = await self._scans.ledger.call(lambda store: overview.failures(store, scan_id))
        return msgspec.json.encode(ended(found, counts))
