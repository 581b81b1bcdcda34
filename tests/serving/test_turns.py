"""Slices that somebody waits for go on, the others pause between two stages."""

import asyncio
import threading

import msgspec
import pytest

from bq.serving.bisection import Worked
from bq.serving.compute import Pools
from bq.serving.flights import Rank
from bq.serving.turns import PATIENCE, Patience, Turns
from tests.serving.fakes import FakeEngine, FakeMarket
from tests.serving.loop import run
from tests.serving.room import LIMITS, Room, room_test


class Told(Turns):
    """Turns in which somebody is always in a hurry, on a clock of its own; pauses last as long as they may."""

    def __init__(self):
        super().__init__(lambda: self.now)
        self.now = 100.0
        self.pauses = []

    def wait(self, longest_s):
        self.pauses.append(longest_s)
        self.now += max(longest_s, 0.0)
        return max(longest_s, 0.0)


def test_a_slice_pauses_four_times_as_long_as_it_runs_at_most():
    turns = Told()
    patience = Patience(turns)
    patience.give_way()
    for _ in range(3):
        turns.now += 0.5
        patience.give_way()

    assert turns.pauses == [0.0, *[PATIENCE * 0.5] * 3]
    assert patience.paused_s == 3 * PATIENCE * 0.5
    assert turns.now == 100.0 + 1.5 * (1.0 + PATIENCE)


def test_nobody_in_a_hurry_nobody_pauses():
    turns = Turns(lambda: 0.0)
    with turns.hurried():
        pass
    assert turns.wait(1e9) == 0.0
    assert turns.paused_s == 0.0


def test_a_pause_lasts_until_the_last_in_a_hurry_is_done():
    now = [0.0]
    turns = Turns(lambda: now[0])
    first, second, order = turns.hurried(), turns.hurried(), []
    first.__enter__()
    second.__enter__()

    def patient():
        order.append(turns.wait(1e6))

    thread = threading.Thread(target=patient)
    thread.start()
    first.__exit__(None, None, None)
    thread.join(0.05)
    assert thread.is_alive()
    now[0] = 7.0
    second.__exit__(None, None, None)
    thread.join(10.0)
    assert order in ([7.0], [0.0])  # or it began to wait after the clock was put on
    assert turns.paused_s == order[0]


def test_a_patient_slice_in_the_pools_pauses_for_a_hurried_one_and_tells_for_how_long():
    """The engine of the hurried slice ends only once the patient one has asked to give way."""
    asked, order = threading.Event(), []

    class Staged(FakeEngine):
        def analyze(self, snapshots, details, give_way):
            name = snapshots[0].ticker
            if name == "HURRIED":
                began.set()
                assert asked.wait(10.0)
            else:
                assert began.wait(10.0)
                asked.set()
                give_way()
            order.append(name)
            return super().analyze(snapshots, details, give_way)

    began = threading.Event()

    async def main():
        engine, market = Staged(), FakeMarket()
        pools = Pools(1, 1)
        await pools.load(engine.load, lambda: market)
        one, other = market.fetch(["PATIENT", "HURRIED"])
        patient = asyncio.create_task(pools.compute([("PATIENT", "default", "")], [one], False))
        hurried = asyncio.create_task(pools.compute([("HURRIED", "default", "")], [other], True))
        worked: list[Worked] = await asyncio.gather(patient, hurried)
        assert order == ["HURRIED", "PATIENT"]
        assert worked[0].paused_s > 0.0
        assert worked[1].paused_s == 0.0
        assert pools.paused_s() == pytest.approx(worked[0].paused_s)
        pools.close()

    asyncio.run(main())


@pytest.mark.parametrize("failing", [False, True])
def test_other_work_that_somebody_waits_for_has_slices_pause_and_lets_go_even_when_it_raises(failing):
    async def main():
        pools = Pools(1, 1)
        began, go = threading.Event(), threading.Event()

        def price():
            began.set()
            assert go.wait(10.0)
            if failing:
                raise ValueError("no such option")
            return 7.0

        pricing = asyncio.create_task(pools.in_compute(price))
        await asyncio.to_thread(began.wait, 10.0)
        pausing = asyncio.create_task(asyncio.to_thread(pools._turns.wait, 1e6))
        go.set()
        (priced,) = await asyncio.gather(pricing, return_exceptions=True)
        assert isinstance(priced, ValueError) if failing else priced == 7.0
        await asyncio.wait_for(pausing, 10.0)
        assert pools._turns.wait(1e6) == 0.0
        pools.close()

    asyncio.run(main())


def test_a_hurried_slice_begins_beside_the_slices_of_a_list_and_alone_in_its_slice():
    async def main():
        room = Room(compute_slots=2, patient_slice_s=1.0)
        scan = asyncio.create_task(room.answers([f"S{i}" for i in range(40)], rank=Rank.SCAN))
        await asyncio.sleep(1.05)  # fetched; two slices of ten, a second each, have begun
        assert [len(keys) for _, keys in room.slices] == [10, 10]
        room.fetch_s = 0.0
        began = asyncio.get_running_loop().time()
        await room.answers("A")
        assert room.slices[2] == (began, ["A"])
        assert asyncio.get_running_loop().time() == began + 0.1
        both = await asyncio.gather(room.answers("B"), room.answers("C"), room.answers("DEF"))
        assert [len(one) for one in both] == [1, 1, 3]
        hurried = [keys for when, keys in room.slices[3:] if when < 2.0]
        assert len(hurried) == 2  # as many slices at a time as there are slots, and no more
        assert {key for keys in hurried for key in keys} == set("BCDEF")
        await scan

    run(main())


@room_test
async def test_a_pause_is_not_taken_for_a_slow_computation(room):
    room.batcher.limits = msgspec.structs.replace(LIMITS, patient_slice_s=1.0)
    usual = room.compute

    async def paused(keys, snapshots, hurried):
        for _ in range(30):
            await asyncio.sleep(1.0)
            room.paused += 1.0
        return (await usual(keys, snapshots, hurried))._replace(paused_s=30.0)

    room.batcher.bisection.compute = paused
    asking = asyncio.create_task(room.answers([f"S{i}" for i in range(10)], rank=Rank.SCAN))
    while not asking.done():
        await asyncio.sleep(1.0)
        room.batcher.beat()
    assert asking.result() == [f"s{i}" for i in range(10)]  # not given up for hanging
    assert room.batcher.compute_cost.predict(10) == pytest.approx(1.0, rel=1e-6)


def test_a_pause_counts_while_it_lasts():
    """It was counted when it had ended: until then a slice that gave way looked like one that hangs."""
    now, pausing = [0.0], threading.Event()

    def clock():
        moment = now[0]
        pausing.set()
        return moment

    turns = Turns(clock)
    with turns.hurried():
        pausing.clear()
        patient = threading.Thread(target=turns.wait, args=(1e6,))
        patient.start()
        pausing.wait(10.0)
        now[0] = 7.0
        assert turns.paused_s == 7.0
        now[0] = 9.0
    patient.join(10.0)
    assert turns.paused_s == 9.0


def test_the_pauses_of_a_slice_are_not_shared_out_to_those_in_a_hurry():
    """Half of them were put down to the slice that it gave way to, and it was given up for the other half."""

    async def main():
        room = Room(compute_slots=1)
        room.fetch_s = 0.0
        usual = room.compute

        async def compute(keys, snapshots, hurried):
            if hurried:
                return await usual(keys, snapshots, hurried)
            for _ in range(30):  # works for six seconds, and pauses for twenty-four
                await asyncio.sleep(1.0)
                room.paused += 0.8
            return (await usual(keys, snapshots, hurried))._replace(paused_s=24.0)

        async def in_a_hurry():
            for i in range(300):
                await room.answers([f"H{i}"])

        room.batcher.bisection.compute = compute
        asking = asyncio.create_task(room.answers(["S"], rank=Rank.SCAN))
        await asyncio.sleep(0.01)
        others = asyncio.create_task(in_a_hurry())
        while not asking.done():
            await asyncio.sleep(1.0)
            room.batcher.beat()
        assert asking.result() == ["s"]
        assert room.batcher.tally.stuck == 0
        await others

    run(main())


def test_a_slice_that_hangs_is_found_though_another_gives_way():
    async def main():
        room = Room(compute_slots=2, patient_slice_s=0.1)
        room.fetch_s = 0.0

        async def compute(keys, snapshots, hurried):
            for _ in range(100):
                await asyncio.sleep(1.0)
                room.paused += 0.0 if "HANGS" in keys else 0.8
            return Worked([b"x"] * len(keys), 0.0)

        room.batcher.bisection.compute = compute
        asking = [asyncio.create_task(room.answers([name], rank=Rank.SCAN)) for name in ("HANGS", "GIVES")]
        while not asking[0].done():
            await asyncio.sleep(1.0)
            room.batcher.beat()
        assert asking[0].result() == ["too_busy"]
        assert asyncio.get_running_loop().time() < 30.0
        for task in asking:
            task.cancel()
        await asyncio.sleep(200.0)

    run(main())
