"""Scans in the server: one at a time, begun by a request or by the clock, gone on with after a restart.

Rules of this file: the life of scans on the event loop. The scan itself is `bq.scan.scanner`; it asks for its tickers
through the desk like everybody, in the class of scans, and its answers go to the store and not to the cache, from which
they would push what is asked for again. HTTP is in `scan_handlers.py`.

A scan that was begun before the last restart is gone on with, unless it began on another market or moment (then it is
another server's), or the exchange has been open for a whole session since: its rest would be of other days' prices, so
it is closed as failed and keeps the rows that it has.
"""

import asyncio
import datetime as dt
import logging
import secrets
import uuid
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Final, TypeVar

import msgspec

from bq.config import Settings
from bq.errors import Failure, Problem
from bq.market.source import Market
from bq.scan import overview, resumption, schedule, universe
from bq.scan.claim import Claim
from bq.scan.ledger import Ledger
from bq.scan.records import FinalStatus, ScanSpec, ScanSummary
from bq.scan.scanner import Answer, Scanner
from bq.scan.schedule import Schedule
from bq.scan.universe import Universe
from bq.serving.bell import Bell
from bq.serving.cache import Entry
from bq.serving.desk import Desk
from bq.serving.flights import Rank
from bq.serving.scan_status import IDLE, ScanStatus, ended, iso, per_cent

T = TypeVar("T")

_log = logging.getLogger(__name__)

PATIENCE_S: Final = 900.0  # for a block: Yahoo's budget lets one request a second pass
LATE: Final = Problem("too_busy", "The server had no time for this ticker.", 5.0)
STALE: Final = Problem("source_failed", "The source failed, and an older answer is not one of this scan.", 15.0)
LOOK_S: Final = 30.0  # between two looks at the clock, and for another process to end its scan
OTHER_PROCESS: Final = Problem(
    "conflict", "Another process is scanning into this database. Wait until it has ended.", 30.0
)
KEY_USED: Final = Problem("conflict", "This Idempotency-Key was used for a scan of other tickers. Choose another.")
NOTHING_RUNS: Final = Problem("conflict", "No scan is running.")
_NAMES: Final = uuid.UUID("6f1f4a5e-8a54-4c0e-9a0b-5d1a1f0c7f11")


def asker(
    desk: Desk, owner: str, clock: Callable[[], float], wall: Callable[[], float]
) -> Callable[[Sequence[str]], Awaitable[list[Answer]]]:
    """Give what has a scan's tickers analysed: behind interactive requests, in turns with other lists."""

    async def ask(tickers: Sequence[str]) -> list[Answer]:
        began = wall()
        looked = desk.look(tickers, "full", {})
        if looked.missing:
            await desk.wait(looked, clock() + PATIENCE_S, owner, Rank.SCAN, keep=False)
        return [_answer(found, began) for found in looked.answers]

    return ask


def _answer(found: Entry | Problem | None, began: float) -> Answer:
    if found is None:
        return LATE
    if isinstance(found, Problem):
        return found
    # One made now of old prices says so itself (`stale`); one that was made before stands in for none of this scan.
    return STALE if found.stale and found.as_of < began else found.data


class Scans:
    """The scans of one server.

    Parameters
    ----------
    market
        Gives the market, once it is open.
    in_thread
        Runs blocking work elsewhere.
    wall
        Seconds since 1970.
    """

    def __init__(
        self,
        settings: Settings,
        desk: Desk,
        ledger: Ledger,
        market: Callable[[], Market],
        in_thread: Callable[..., Awaitable[Any]],
        clock: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        self.bell = Bell()  # rings when the status changes
        self.ledger = ledger
        self.current: Scanner | None = None
        self._settings = settings
        self._desk = desk
        self._market = market
        self._in_thread = in_thread
        self._clock = clock
        self._wall = wall
        self._schedule: Schedule | None = None
        self._next: dt.datetime | None = None
        self._last: ScanStatus | None = None  # of the last scan, when it had ended
        self._last_complete: dt.datetime | None = None
        self._left: deque[ScanSpec] = deque()  # begun before the restart, to be gone on with
        self._looked_back = False
        self._beginning = asyncio.Lock()
        self._steps: set[asyncio.Task[Any]] = set()  # beginnings under way, whoever waits for them
        self._cancelled = False
        self._stopping = False
        self._work: asyncio.Task[None] | None = None
        self._life: asyncio.Task[None] | None = None

    # --- life -------------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Go on with what was left, and keep the schedule; a database that does not answer is waited for.

        Raises
        ------
        Failure
            `bad_request`, when `BQ_SCAN_AT` cannot be read.
        """
        self._schedule = schedule.parse(self._settings.scan_at)
        self._life = asyncio.get_running_loop().create_task(self._live())

    def stop_asking(self) -> None:
        """Begin nothing and ask for nothing more: the server is going away."""
        self._stopping = True
        if self.current is not None:
            self.current.halt()
        self.bell.ring()

    async def close(self, patience_s: float = 3.0) -> None:
        """Record what was answered, and leave the rest for the next start."""
        self.stop_asking()
        if self._life is not None:
            self._life.cancel()
            await asyncio.wait((self._life,))
        if self._steps:
            await asyncio.wait(self._steps, timeout=patience_s)
        if self._work is not None:
            await asyncio.wait((self._work,), timeout=patience_s)
            self._work.cancel()
            await asyncio.wait((self._work,), timeout=1.0)  # a claim on a database that hangs ends with the process
        await self.ledger.close()

    # --- what requests ask for --------------------------------------------------------------------------------------

    async def begin(self, chosen: Universe, idempotency_key: str | None = None) -> str:
        """Store a scan and start it; give its id. The same idempotency key is the same scan.

        Raises
        ------
        Failure
            `conflict` while a scan runs or for a key of another scan, `storage_failed` when it cannot be stored,
            `not_ready` at shutdown. Nothing was begun then.
        """
        return await self._whole(self._begin(chosen, idempotency_key))

    async def _begin(self, chosen: Universe, idempotency_key: str | None) -> str:
        scan_id = secrets.token_hex(16) if idempotency_key is None else uuid.uuid5(_NAMES, idempotency_key).hex
        async with self._beginning:
            if self._stopping:
                raise Failure(Problem("not_ready", "The server is shutting down.", 5.0))
            await self._look_back(self.ledger.call)
            known = None if idempotency_key is None else await self.ledger.call(lambda store: store.spec(scan_id))
            if known is not None:
                same = {one.ticker for one in known.tickers} == {one.ticker for one in chosen.tickers}
                if known.universe != chosen.name or not same:
                    raise Failure(KEY_USED)
                return scan_id
            if self.current is not None:
                raise Failure(_busy(self.current))
            spec = ScanSpec(
                scan_id=scan_id,
                universe=chosen.name,
                tickers=chosen.tickers,
                as_of=self._settings.as_of,
                started_at=self._now(),
                market=self._market().name,
            )
            claim = await self._claim()
            if claim is None:
                raise Failure(OTHER_PROCESS)
            try:
                await self.ledger.call(lambda store: store.begin(spec))
            except BaseException:
                await self.ledger.run(claim.release)
                raise
            self._start(spec, claim)
        return scan_id

    def cancel(self) -> str:
        """Stop the scan that runs; it keeps the rows that it has. Its id.

        Raises
        ------
        Failure
            `conflict`, when none runs.
        """
        if self.current is None:
            raise Failure(NOTHING_RUNS)
        self._cancelled = True
        self.current.halt()
        self.bell.ring()
        return self.current.spec.scan_id

    def status(self) -> ScanStatus:
        """Tell how far the scan is, or what the last one came to."""
        scanner = self.current
        if scanner is None:
            last = self._last or IDLE
            return msgspec.structs.replace(last, last_scan=iso(self._last_complete), next_scan=iso(self._next))
        state = "waiting_for_database" if self.ledger.waiting else "running"
        return self._status(scanner, "cancelling" if self._cancelled else state, None)

    async def find(self, scan_id: str) -> ScanSummary | None:
        """Look a scan up in the store.

        Raises
        ------
        Failure
            `storage_failed`, when the database does not answer.
        """
        return await self.ledger.call(lambda store: overview.find(store, scan_id))

    async def universe(self, wanted: str | Sequence[str]) -> Universe:
        """Say which tickers a name or a list means here.

        Raises
        ------
        Failure
            `bad_request` or `too_large`.
        """

        def resolve() -> Universe:
            market = self._market()
            chosen = (
                universe.resolve(wanted, market) if isinstance(wanted, str) else universe.from_symbols(wanted, market)
            )
            return universe.at_most(chosen, self._settings.task_limit)

        return await self._in_thread(resolve)

    # --- the run of a scan ------------------------------------------------------------------------------------------

    def _start(self, spec: ScanSpec, claim: Claim) -> None:
        self._cancelled = False
        ask = asker(self._desk, spec.scan_id, self._clock, self._wall)
        scanner = self.current = Scanner(spec, self.ledger, ask, self._clock, self.bell.ring)
        self._work = asyncio.get_running_loop().create_task(self._drive(scanner, claim))
        self.bell.ring()
        _log.info("scan %s of %d tickers (%s)", spec.scan_id, scanner.total, spec.universe)

    async def _drive(self, scanner: Scanner, claim: Claim) -> None:
        status: FinalStatus = "failed"
        try:
            try:
                complete = await scanner.run()
                if not complete and self._stopping and not self._cancelled:
                    return  # it goes on at the next start
                status = "completed" if complete else "cancelled"
            except Failure as failure:  # ended by somebody else, or gone
                _log.warning("scan %s: %s", scanner.spec.scan_id, failure.problem.error)
                status = "cancelled"
            except Exception:
                _log.exception("scan %s failed", scanner.spec.scan_id)
            await scanner.finish(status, self._now())
            _log.info("scan %s: %s, %d of %d", scanner.spec.scan_id, status, scanner.done, scanner.total)
        finally:
            self._last = self._status(scanner, status, self._now())
            if status == "completed":
                self._last_complete = self._now()
            try:
                await self.ledger.run(claim.release)  # first: whoever sees that no scan runs may begin one
            finally:
                self.current = None
                self.bell.ring()

    async def _whole(self, step: Coroutine[Any, Any, T]) -> T:
        """Take a step to its end, also when whoever waits for it leaves.

        Cancelled in between it would leave behind a scan that is stored and never run, or a claim that nobody knows of
        and that keeps every other scan from beginning.
        """
        task = asyncio.get_running_loop().create_task(step)
        self._steps.add(task)
        task.add_done_callback(self._steps.discard)
        task.add_done_callback(lambda done: done.cancelled() or done.exception())  # seen, if nobody waits any more
        return await asyncio.shield(task)

    async def _claim(self) -> Claim | None:
        return await self.ledger.call(lambda store: Claim.take(store.database))

    # --- after a restart, and by the clock --------------------------------------------------------------------------

    async def _live(self) -> None:
        while True:
            try:
                await self._look_back(self.ledger.patiently)
                wait = await self._next_step()
            except Failure as failure:
                _log.warning("no scan now: %s", failure.problem.error)
                wait = LOOK_S
            except Exception:
                _log.exception("no scan now")
                wait = LOOK_S
            await self.bell.wait(wait)

    async def _next_step(self) -> float:
        """Go on with a scan that was left, or begin one that is due; give the seconds until there is more to do."""
        if self.current is not None or self._stopping:
            return LOOK_S
        if self._left:
            await self._whole(self._go_on())
            return LOOK_S
        if self._schedule is None:
            return LOOK_S
        wanted, limit = self._settings.scan_universe, self._settings.task_limit
        chosen = await self._in_thread(lambda: universe.at_most(universe.resolve_text(wanted, self._market()), limit))
        now, market = self._now(), self._market().name
        last = await self.ledger.call(lambda store: overview.last_start(store, market, chosen.name))
        if (due := self._schedule.missed(now, last)) is not None:
            _log.info("the scan that was due at %s begins", iso(due))
            await self.begin(chosen)
            return LOOK_S
        due, self._next = self._next, self._schedule.next_due(now)
        if due != self._next:
            self.bell.ring()  # it is a part of the status
        return min((self._next - now).total_seconds(), LOOK_S)

    async def _go_on(self) -> None:
        """Go on with a scan that was left, unless another has begun meanwhile or runs in another process."""
        async with self._beginning:
            if self.current is None and not self._stopping and (claim := await self._claim()) is not None:
                self._start(self._left.popleft(), claim)

    async def _look_back(self, call: Callable[..., Awaitable[Any]]) -> None:
        """Find out, once, what was left unfinished and how the last scan ended."""
        if self._looked_back:
            return
        market = self._market().name
        left = []
        for spec in await call(lambda store: store.unfinished()):
            if not resumption.is_ours(spec, self._settings, market):
                continue
            if resumption.is_too_old(spec, self._settings, self._now()):
                _log.warning("scan %s of %s is of another day and is closed", spec.scan_id, iso(spec.started_at))
                scan_id = spec.scan_id
                await call(lambda store: store.finish(scan_id, "failed", self._now()))  # noqa: B023 - awaited at once
            else:
                left.append(spec)
        last = await call(lambda store: overview.last_completed(store, market))
        counts = {} if last is None else await call(lambda store: overview.failures(store, last.scan_id))
        if self._looked_back:  # a request did, while this waited for the database
            return
        self._left.extend(left)
        if last is not None:
            self._last_complete = last.finished_at
            self._last = ended(last, counts)
        self._looked_back = True
        self.bell.ring()

    # --- telling ----------------------------------------------------------------------------------------------------

    def _now(self) -> dt.datetime:
        return dt.datetime.fromtimestamp(self._wall(), dt.UTC)

    def _status(self, scanner: Scanner, state: str, finished: dt.datetime | None) -> ScanStatus:
        spec, eta = scanner.spec, scanner.eta_s()
        return ScanStatus(
            is_scanning=finished is None,
            last_scan=iso(self._last_complete),
            progress=per_cent(scanner.done, scanner.total),
            done=scanner.done,
            total=scanner.total,
            failed=scanner.failures.total(),
            failures=dict(scanner.failures.most_common()),
            state=state,
            task_id=spec.scan_id,
            universe=spec.universe,
            started_at=iso(spec.started_at),
            finished_at=iso(finished),
            elapsed_s=round(((finished or self._now()) - spec.started_at).total_seconds(), 1),
            eta_s=None if eta is None or finished is not None else round(eta, 1),
            next_scan=iso(self._next),
        )


def _busy(scanner: Scanner) -> Problem:
    text = f"A scan of {scanner.spec.universe} is running, {scanner.done} of {scanner.total} done. Wait, or cancel it."
    return Problem("conflict", text)
