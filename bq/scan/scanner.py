"""One scan, from wherever it is to its end: ask in blocks, record each block, go on where it was after a restart.

Rules of this file: the order of things on one event loop. It knows neither who analyses (`ask`) nor threads nor HTTP;
the store is behind the ledger.

A few blocks are under way at a time, so that analysing, fetching and recording overlap; no more than these are ever in
memory, whatever the database does. A block counts as done when it is on disk. What is being asked when a scan is halted
was acknowledged to nobody, and is asked again by whoever goes on with the scan; recording a row twice changes nothing.

A problem that comes with `retry_after` (the source limits us, the server is busy) is no answer yet: its ticker is asked
again after the others, a few times, and then recorded as it is. Where a whole block comes to nothing else, the scan
pauses before the next: a source that refuses everybody must not be asked for five hundred names to hear so.
"""

import asyncio
import contextlib
import datetime as dt
import logging
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final, TypeAlias

import msgspec

from bq.errors import Failure, Problem
from bq.scan import overview
from bq.scan.ledger import Ledger
from bq.scan.records import FinalStatus, ScanRow, ScanSpec
from bq.scan.store import Store
from bq.schema import Analysis

_log = logging.getLogger(__name__)

BLOCK: Final = 32  # tickers that are asked for, and recorded, together
AT_ONCE: Final = 4  # blocks under way
ROUNDS: Final = 4  # how often a ticker is asked for whose problem passes
LONGEST_REST_S: Final = 120.0  # before asking again

Answer: TypeAlias = bytes | Problem
Ask: TypeAlias = Callable[[Sequence[str]], Awaitable[Sequence[Answer]]]
"""Tickers to their encoded full answers or problems, in order; may be cancelled while it waits."""

NOT_STORED: Final = Problem("internal", "The answer could not be stored. This is a defect; the log says more.")

_decoder: Final = msgspec.json.Decoder(Analysis)


class Scanner:
    """A scan under way.

    Parameters
    ----------
    spec
        A scan that the store knows (`Store.begin`).
    ask
        Has tickers analysed.
    on_progress
        Told of every step.
    """

    def __init__(
        self,
        spec: ScanSpec,
        ledger: Ledger,
        ask: Ask,
        clock: Callable[[], float],
        on_progress: Callable[[], object] = lambda: None,
    ) -> None:
        self.spec = spec
        self.total = len(spec.tickers)
        self.done = 0  # rows on disk
        self.failures: Counter[str] = Counter()  # by code
        self.began = clock()
        self.before = 0  # rows that were on disk when this process went on with the scan
        self.halting = False
        self._tags = {one.ticker: one.tags for one in spec.tickers}
        self._ledger = ledger
        self._ask = ask
        self._clock = clock
        self._on_progress = on_progress
        self._halted = asyncio.Event()
        self._later: dict[str, Problem] = {}

    def halt(self) -> None:
        """Ask for nothing more; what was answered is still recorded."""
        self.halting = True
        self._halted.set()

    def eta_s(self) -> float | None:
        """Predict the seconds to the end from the pace so far; None before there is one."""
        fresh = self.done - self.before
        if not fresh:
            return None
        return (self.total - self.done) * (self._clock() - self.began) / fresh

    async def run(self) -> bool:
        """Work until every ticker has its row; False when it was halted before.

        Raises
        ------
        Failure
            `conflict` when somebody else ended the scan, `not_found` when it is gone.
        """
        scan_id = self.spec.scan_id
        known, failed = await self._ledger.patiently(
            lambda store: (store.done(scan_id), overview.failures(store, scan_id))
        )
        self.failures.update(failed)
        self.done = self.before = len(known)
        self.began = self._clock()
        self._on_progress()
        todo = [one.ticker for one in self.spec.tickers if one.ticker not in known]
        for number in range(1, ROUNDS + 1):
            await self._round(todo, is_last=number == ROUNDS)
            todo = list(self._later)
            if not todo or not await self._rest(self._later.values()):
                break
            self._later.clear()
        return self.done >= self.total

    async def finish(self, status: FinalStatus, moment: dt.datetime) -> None:
        """Note the end of the scan, however long the database does not answer."""
        await self._ledger.patiently(lambda store: store.finish(self.spec.scan_id, status, moment))

    async def _round(self, todo: Sequence[str], is_last: bool) -> None:
        blocks = deque(todo[start : start + BLOCK] for start in range(0, len(todo), BLOCK))
        workers = [asyncio.ensure_future(self._work(blocks, is_last)) for _ in range(min(AT_ONCE, len(blocks)))]
        try:
            await asyncio.gather(*workers)  # raises what the first raised, as it is
        finally:
            for worker in workers:
                worker.cancel()
            if workers:
                await asyncio.wait(workers)

    async def _work(self, blocks: deque[Sequence[str]], is_last: bool) -> None:
        while blocks and not self.halting:
            tickers = blocks.popleft()
            answers = await self._answers(tickers)
            if answers is None:
                return
            settled: list[tuple[str, Answer]] = []
            passing: list[Problem] = []
            for ticker, answer in zip(tickers, answers, strict=True):
                if isinstance(answer, Problem) and answer.retry_after is not None and not is_last:
                    self._later[ticker] = answer
                    passing.append(answer)
                else:
                    settled.append((ticker, answer))
            await self._record(settled)
            if len(passing) == len(tickers):
                await self._rest(passing)

    async def _answers(self, tickers: Sequence[str]) -> Sequence[Answer] | None:
        """Ask, unless the scan is halted meanwhile."""
        asking = asyncio.ensure_future(self._ask(tickers))
        halted = asyncio.ensure_future(self._halted.wait())
        try:
            await asyncio.wait((asking, halted), return_when=asyncio.FIRST_COMPLETED)
            return asking.result() if asking.done() else None
        finally:
            halted.cancel()
            if not asking.done():
                asking.cancel()
                await asyncio.wait((asking,))

    async def _rest(self, problems: Iterable[Problem]) -> bool:
        """Wait until a new try makes sense; False when the scan is halted."""
        wait = min(max((problem.retry_after or 0.0 for problem in problems), default=0.0), LONGEST_REST_S)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait):
                await self._halted.wait()
        return not self.halting

    async def _record(self, settled: Sequence[tuple[str, Answer]]) -> None:
        """Store answers; those that cannot be stored are found by halving, and stand as problems."""
        if not settled:
            return

        def record(store: Store) -> None:  # in the store's thread, decoding included: it takes a millisecond a ticker
            rows = [_row(ticker, answer, self._tags[ticker]) for ticker, answer in settled]
            store.record(self.spec.scan_id, rows)

        try:
            await self._ledger.patiently(record)
        except Failure:
            raise
        except Exception:
            if len(settled) > 1:
                half = len(settled) // 2
                await self._record(settled[:half])
                await self._record(settled[half:])
                return
            ((ticker, answer),) = settled
            if answer is NOT_STORED:
                raise
            _log.exception("%s of scan %s could not be stored", ticker, self.spec.scan_id)
            await self._record([(ticker, NOT_STORED)])
            return
        self.done += len(settled)
        self.failures.update(answer.code for _, answer in settled if isinstance(answer, Problem))
        self._on_progress()


def _row(ticker: str, answer: Answer, tags: Sequence[str]) -> ScanRow:
    """Make the row to store; an analysis says which indices its scan found the ticker in."""
    if isinstance(answer, Problem):
        return ScanRow(ticker, problem=answer)
    data = b'%b,"tags":%b}' % (answer[:-1], msgspec.json.encode(list(tags)))
    return ScanRow(ticker, _decoder.decode(data), data)
