"""A slice or a fetch that hangs frees its waiters; one that only waits for a core, or is long, does not hang."""

import asyncio

import pytest

from bq.serving.admission import Limits
from bq.serving.compute import Pools
from bq.serving.flights import Rank
from bq.serving.upkeep import CUT_OFF_S, STUCK_EXIT, Upkeep
from tests.serving.loop import run
from tests.serving.room import Room, beats, room_test


@room_test
async def test_a_lost_wakeup_is_made_good_by_the_watchdog(room):
    """T14."""
    kick, room.batcher.kick = room.batcher.kick, lambda: None
    waiter = room.ask("A")
    room.batcher.kick = kick
    await asyncio.sleep(1.0)
    room.batcher.beat()
    await waiter.all()

    assert waiter.answers[0].data == b"a"
    assert room.batcher.tally.lost_wakeups == 1


@room_test
async def test_the_watchdog_finds_nothing_to_do_while_all_is_well(room):
    beat = asyncio.create_task(beats(room.batcher))
    await asyncio.gather(*[room.answers([str(i)]) for i in range(100)])
    beat.cancel()

    assert room.batcher.tally.lost_wakeups == 0


@room_test
async def test_a_hanging_slice_frees_its_waiters_and_says_stuck(room):
    """T12, the batcher's part."""
    room.hang = 60.0
    beat = asyncio.create_task(beats(room.batcher))
    assert await room.answers("A") == ["too_busy"]
    assert room.batcher.is_stuck
    assert 5.0 < asyncio.get_running_loop().time() < 8.0
    await asyncio.sleep(61)

    assert not room.batcher.is_stuck
    assert room.cache.get("A").data == b"a"  # what it came to in the end is worth keeping
    beat.cancel()


@room_test
async def test_a_hanging_fetch_frees_its_waiters_and_is_not_our_defect(room):
    room.fetch_s = 100.0
    beat = asyncio.create_task(beats(room.batcher))
    assert await room.answers("A") == ["source_failed"]

    assert not room.batcher.is_stuck
    beat.cancel()


def test_a_server_whose_every_fetch_hangs_for_long_is_replaced():
    """Its slots were never free again: every miss failed, readiness said nothing, until somebody restarted it."""

    async def main():
        room = Room(fetch_slots=2)
        left, loop = [], asyncio.get_running_loop()
        upkeep = Upkeep(
            room.cache, None, room.batcher, None, None, loop.time, lambda code: left.append("blamed"), left.append
        )
        beat = asyncio.create_task(beats(room.batcher))
        room.fetch_s = 4 * CUT_OFF_S
        assert await room.answers("A") == ["source_failed"]
        await asyncio.sleep(CUT_OFF_S)
        upkeep.look_for_hanging_fetches()
        assert left == []  # one slot is free
        began = loop.time()
        assert await room.answers("B") == ["source_failed"]
        while not left:
            await asyncio.sleep(1.0)
            upkeep.look_for_hanging_fetches()
            assert loop.time() - began < 2 * CUT_OFF_S
        assert left == [STUCK_EXIT]
        assert loop.time() - began > CUT_OFF_S
        beat.cancel()
        await asyncio.sleep(4 * CUT_OFF_S)

    run(main())


@pytest.mark.parametrize(
    ("predicted", "hurried", "limit"), [(0.02, True, 5.0), (2.0, True, 8.0), (0.02, False, 15.0), (2.0, False, 16.0)]
)
def test_a_slice_hangs_by_what_it_was_predicted_to_take_and_who_waits(predicted, hurried, limit):
    assert Limits().stuck_after(predicted, hurried) == limit
    assert Limits(stuck_s=600.0).stuck_after(predicted, hurried) == 600.0  # a command that nobody waits for in vain


def test_a_giant_chain_in_a_scan_on_a_slow_machine_is_not_taken_for_one_that_hangs():
    """It is known to be heavy, so it goes by itself, is predicted to take long, and has four or eight times that."""

    async def main(rank):
        room = Room(slice_s=0.025)
        room.batcher.compute_cost.seed(0.0, 0.01)
        room.each_s, room.weights = 0.03, {"SPY": 200}  # three times as slow as predicted: 6 s
        beat = asyncio.create_task(beats(room.batcher))
        assert await room.answers(["A", "SPY", "B"], rank=rank) == ["a", "spy", "b"]
        beat.cancel()
        assert [keys for _, keys in room.slices] == [["A"], ["SPY"], ["B"]]
        assert room.batcher.tally.stuck == 0

    run(main(Rank.SCAN))
    run(main(Rank.INTERACTIVE))


def test_a_slice_of_a_scan_that_hangs_is_found_too():
    async def main():
        room = Room()
        room.hang = 600.0
        beat = asyncio.create_task(beats(room.batcher))
        assert await room.answers("A", rank=Rank.SCAN) == ["too_busy"]
        beat.cancel()
        assert room.batcher.is_stuck
        assert 15.0 < asyncio.get_running_loop().time() < 18.0

    run(main())


def test_who_waits_decides_though_a_scan_asked_first():
    async def main():
        room = Room()
        room.hang = 600.0
        beat = asyncio.create_task(beats(room.batcher))
        scan = asyncio.create_task(room.answers("AB", rank=Rank.SCAN))
        await asyncio.sleep(0.5)
        assert await room.answers("A") == ["too_busy"]
        beat.cancel()
        assert asyncio.get_running_loop().time() < 8.0
        await scan

    run(main())


@room_test
async def test_a_slice_that_waits_for_a_core_does_not_hang(room):
    """On a busy machine: it waits four seconds in five, so it takes 20 s for 4 s of work, and is let go on."""

    async def starve():
        while True:
            await asyncio.sleep(1)
            room.starved += 0.8

    room.each_s = 20.0
    tasks = [asyncio.create_task(beats(room.batcher)), asyncio.create_task(starve())]
    assert await room.answers("A") == ["a"]
    assert room.batcher.tally.stuck == 0
    for task in tasks:
        task.cancel()


def test_a_slice_that_hangs_is_found_though_another_waits_for_a_core():
    async def main():
        room = Room(compute_slots=2, slice_s=0.1)
        room.fetch_s, room.each_s = 0.0, 0.13

        async def starve():
            while True:
                await asyncio.sleep(1)
                room.starved += 1.0

        room.weights = {"HANGS": 6000}
        hangs = asyncio.create_task(room.answers(["HANGS"]))
        await asyncio.sleep(0.01)
        for running in room.batcher._running:
            running.limit = 5.0  # its weight only makes it long here
        others = asyncio.create_task(room.answers([f"T{i}" for i in range(300)]))
        tasks = [asyncio.create_task(beats(room.batcher)), asyncio.create_task(starve())]
        await hangs
        assert room.batcher.tally.stuck == 1
        assert asyncio.get_running_loop().time() < 13.0
        for task in (*tasks, others):
            task.cancel()
        await asyncio.sleep(1000.0)  # of the loop's own time: until the slices have ended

    run(main())


async def test_the_wait_for_a_core_is_read_from_the_system():
    pools = Pools(2, 1)
    assert pools.starved_s() == 0.0
    await asyncio.gather(*[asyncio.get_running_loop().run_in_executor(pools._computing, sum, ()) for _ in range(8)])
    first = pools.starved_s()
    await asyncio.gather(
        *[asyncio.get_running_loop().run_in_executor(pools._computing, sum, range(10**6)) for _ in range(20)]
    )
    pools.close()
    assert first > 0.0
    assert pools.starved_s() >= first or pools.starved_s() == 0.0  # the threads may have ended
