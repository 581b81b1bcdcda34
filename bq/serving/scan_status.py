"""What is told of a scan while it runs and when it has ended.

Rules of this file: values only.
"""

import datetime as dt
from typing import Final

import msgspec

from bq.scan.records import ScanSummary


class ScanStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How far the scan is that runs, or what the last one came to. Times are ISO 8601, UTC."""

    is_scanning: bool
    last_scan: str | None
    """When the last complete scan of this market ended."""
    progress: int
    """Whole per cent."""
    done: int
    total: int
    failed: int
    failures: dict[str, int]
    """How many of the failed, by code."""
    state: str
    """idle, running, waiting_for_database, cancelling; completed, cancelled, failed."""
    task_id: str | None = None
    universe: str | None = None
    started_at: str | None = None
    finished_at: str | None = None
    elapsed_s: float | None = None
    eta_s: float | None = None
    next_scan: str | None = None
    """When the schedule begins one."""


IDLE: Final = ScanStatus(
    is_scanning=False, last_scan=None, progress=0, done=0, total=0, failed=0, failures={}, state="idle"
)


def ended(summary: ScanSummary, failures: dict[str, int]) -> ScanStatus:
    """Tell of a scan as the store knows it."""
    finished = summary.finished_at
    return ScanStatus(
        is_scanning=False,
        last_scan=None,
        progress=per_cent(summary.done, summary.total),
        done=summary.done,
        total=summary.total,
        failed=summary.failed,
        failures=failures,
        state=summary.status,
        task_id=summary.scan_id,
        universe=summary.universe,
        started_at=iso(summary.started_at),
        finished_at=iso(finished),
        elapsed_s=None if finished is None else round((finished - summary.started_at).total_seconds(), 1),
    )


def per_cent(done: int, total: int) -> int:
    """Give whole per cent; nothing to do is done."""
    return 100 * done // total if total else 100


def iso(moment: dt.datetime | None) -> str | None:
    """Write a moment as clients read it: ISO 8601, UTC, whole seconds."""
    return None if moment is None else moment.astimezone(dt.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
