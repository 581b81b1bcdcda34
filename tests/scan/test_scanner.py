"""A scan on a loop whose clock jumps, over a real store: nothing lost, nothing twice, whatever fails in between."""

import asyncio
import datetime as dt
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from bq import schema
from bq.errors import Failure, Problem, unknown_ticker
from bq.scan import overview
from bq.scan.ledger import Ledger
from bq.scan.packing import unpack
from bq.scan.records import ScanRow, ScanSpec, ScanTicker
from bq.scan.scanner import BLOCK, Answer, Scanner
from bq.scan.store import Store
from bq.scan.tables import answers, results
from tests.scan.conftest import MOMENT
from tests.serving.loop import run

DOWN = Problem("storage_failed", "The database is away.", 5.0)
NAMES = [f"T{i:03d}" for i in range(200)]


async def here(work: Callable[[], object]) -> object:
    """Run the store's work on the loop itself, but not in the same tick."""
    await asyncio.sleep(0.01)
    return work()


class Bench:
    """A store in a file, an engine that takes a tenth of a second a block, and counts of both."""

    def __init__(self, folder: Path, data: bytes) -> None:
        self.store = Store.open(f"sqlite:///{folder / 'scans.db'}", lambda: MOMENT)
        self.ledger = Ledger(lambda: self.store, here)
        self.data = data
        self.asked: Counter[str] = Counter()
        self.recorded: Counter[str] = Counter()
        self.moments: list[float] = []
        self.problems: dict[str, list[Problem]] = {}
        self.down = False
        self.held = 0
        self.most_held = 0
        record = self.store.record

        def counted(scan_id: str, rows: Sequence[ScanRow]) -> None:
            if self.down:
                raise Failure(DOWN)
            record(scan_id, rows)
            self.recorded.update(row.ticker for row in rows)
            self.held -= len(rows)

        self.store.record = counted  # type: ignore[method-assign]

    async def ask(self, tickers: Sequence[str]) -> list[Answer]:
        self.moments.append(asyncio.get_running_loop().time())
        self.asked.update(tickers)
        self.held += len(tickers)
        self.most_held = max(self.most_held, self.held)
        await asyncio.sleep(0.1)
        return [self.problems[name].pop(0) if self.problems.get(name) else self.data for name in tickers]

    def scanner(self, scan_id: str = "one", names: Sequence[str] = NAMES) -> Scanner:
        spec = ScanSpec(
            scan_id=scan_id,
            universe="list",
            tickers=tuple(ScanTicker(name, ("SP500",)) for name in names),
            as_of="",
            started_at=MOMENT,
            market="sample",
        )
        self.store.begin(spec)
        return Scanner(spec, self.ledger, self.ask, asyncio.get_running_loop().time)


@pytest.fixture
def bench(tmp_path: Path, analyses) -> Bench:
    return Bench(tmp_path, schema.encode(analyses["AAPL"], "full"))


def test_every_ticker_is_asked_once_and_stored_once(bench: Bench) -> None:
    bench.problems["T007"] = [unknown_ticker("T007", "sample")]

    async def main() -> None:
        scanner = bench.scanner()
        assert await scanner.run()
        await scanner.finish("completed", MOMENT)
        assert (scanner.done, scanner.total, scanner.failures) == (200, 200, {"unknown_ticker": 1})

    run(main())
    assert bench.asked == bench.recorded == Counter(NAMES)
    summary = overview.find(bench.store, "one")
    assert summary is not None
    assert (summary.status, summary.done, summary.failed) == ("completed", 200, 1)
    assert overview.failures(bench.store, "one") == {"unknown_ticker": 1}
    assert [one.ticker for one in overview.failed(bench.store, "one", 9)] == ["T007"]


def test_the_stored_answer_is_the_whole_analysis_with_its_tags(bench: Bench) -> None:
    async def main() -> None:
        await bench.scanner(names=["AAPL"]).run()

    run(main())
    with bench.store.database.read() as connection:
        stored = connection.execute(answers.select()).mappings().one()
    whole = unpack(stored["codec"], stored["body"])
    assert whole == bench.data[:-1] + b',"tags":["SP500"]}'


@pytest.mark.parametrize("steps", [0, 1, 7, 40, 60, 100, 150])
def test_a_scan_that_was_killed_at_any_moment_goes_on_where_it_was(bench: Bench, steps: int) -> None:
    """A task that is cancelled hard stands for a process that dies: what is not on disk is forgotten."""

    async def killed() -> set[str]:
        work = asyncio.ensure_future(bench.scanner().run())
        for _ in range(steps):
            await asyncio.sleep(0.005)
        work.cancel()
        await asyncio.wait((work,))
        return bench.store.done("one")

    async def resumed() -> None:
        (spec,) = bench.store.unfinished()
        scanner = Scanner(spec, bench.ledger, bench.ask, asyncio.get_running_loop().time)
        assert await scanner.run()
        assert scanner.before == len(known)

    known = run(killed())
    asked = set(bench.asked)
    bench.asked.clear()
    run(resumed())
    assert set(bench.asked) == set(NAMES) - known  # what was stored is not done again
    assert len(asked - known) <= 4 * BLOCK  # and no more than what was under way is done twice
    with bench.store.database.read() as connection:
        assert len(connection.execute(results.select()).all()) == 200


def test_a_halted_scan_stores_what_was_answered_and_asks_for_nothing_more(bench: Bench) -> None:
    async def main() -> None:
        scanner = bench.scanner()
        work = asyncio.ensure_future(scanner.run())
        await asyncio.sleep(0.15)  # the first blocks are on disk, the next are being asked
        scanner.halt()
        assert not await work
        assert 0 < scanner.done < 200
        assert scanner.done == len(bench.store.done("one"))

    run(main())
    assert len(bench.moments) <= 8


def test_a_database_that_is_away_costs_nothing_but_time_and_little_memory(bench: Bench) -> None:
    async def main() -> None:
        scanner = bench.scanner()
        work = asyncio.ensure_future(scanner.run())
        await asyncio.sleep(0.05)
        bench.down = True
        await asyncio.sleep(300)
        assert bench.ledger.waiting
        assert bench.held <= 4 * BLOCK
        assert not work.done()
        bench.down = False
        assert await work
        assert not bench.ledger.waiting

    run(main())
    assert bench.asked == bench.recorded == Counter(NAMES)
    assert bench.most_held <= 4 * BLOCK
    assert bench.ledger.failures > 5


def test_a_problem_that_passes_is_asked_again_after_the_others(bench: Bench) -> None:
    busy = Problem("too_busy", "later", 30.0)
    bench.problems = {"T000": [busy], "T100": [busy] * 9}

    async def main() -> Counter[str]:
        scanner = bench.scanner()
        assert await scanner.run()
        return scanner.failures

    assert run(main()) == {"too_busy": 1}  # the one that never gets through, in the end
    assert (bench.asked["T000"], bench.asked["T100"], bench.asked["T001"]) == (2, 4, 1)
    assert bench.recorded == Counter(NAMES)
    assert bench.moments[-1] > 3 * 30.0


def test_a_source_that_refuses_everybody_is_not_asked_for_everybody_at_once(bench: Bench) -> None:
    limited = Problem("source_failed", "429", 60.0)
    bench.problems = {name: [limited] for name in NAMES}

    async def main() -> None:
        scanner = bench.scanner()
        assert await scanner.run()
        assert not scanner.failures

    run(main())
    assert sum(1 for moment in bench.moments if moment < 60.0) == 4
    assert bench.recorded == Counter(NAMES)


def test_a_row_that_cannot_be_stored_is_a_problem_and_its_neighbours_are_stored(bench: Bench, caplog) -> None:
    good = bench.ask

    async def ask(tickers: Sequence[str]) -> list[Answer]:
        return [
            b'{"ticker":"T042"}' if name == "T042" else one
            for name, one in zip(tickers, await good(tickers), strict=True)
        ]

    bench.ask = ask  # type: ignore[method-assign]

    async def main() -> None:
        scanner = bench.scanner()
        assert await scanner.run()
        assert scanner.failures == {"internal": 1}

    run(main())
    assert overview.failures(bench.store, "one") == {"internal": 1}
    assert len(bench.store.done("one")) == 200
    assert "T042" in caplog.text


def test_a_scan_that_somebody_else_ended_stops(bench: Bench) -> None:
    async def main() -> None:
        scanner = bench.scanner()
        work = asyncio.ensure_future(scanner.run())
        await asyncio.sleep(0.05)
        bench.store.finish("one", "cancelled", MOMENT + dt.timedelta(minutes=1))
        with pytest.raises(Failure, match="conflict"):
            await work

    run(main())
    assert not bench.recorded


def test_a_database_that_is_away_from_the_start_is_opened_when_it_comes(tmp_path: Path) -> None:
    tries = 0

    def open_store() -> Store:
        nonlocal tries
        tries += 1
        if tries < 5:
            raise Failure(DOWN)
        return Store.open(f"sqlite:///{tmp_path / 'scans.db'}")

    async def main() -> None:
        ledger = Ledger(open_store, here)
        with pytest.raises(Failure, match="storage_failed"):
            await ledger.call(lambda store: store.latest())
        assert await ledger.patiently(lambda store: store.latest()) is None
        assert asyncio.get_running_loop().time() < 10.0
        await ledger.close()

    run(main())
    assert tries == 5
