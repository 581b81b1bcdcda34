"""What a slice and a fetch hold, and whose turn it is."""

import asyncio

import msgspec
import pytest

from bq.serving.flights import Rank
from tests.serving.loop import run
from tests.serving.room import LIMITS, Room, room_test


def test_whatever_comes_while_the_pool_is_busy_is_the_next_batch():
    async def main():
        room = Room(compute_slots=1, fetch_slots=9)
        room.fetch_s = 0.0
        first = asyncio.create_task(room.answers("A"))
        await asyncio.sleep(0.05)
        later = [asyncio.create_task(room.answers(key)) for key in "BCD"]
        await asyncio.gather(first, *later)

        assert room.slices == [(0.0, ["A"]), (0.1, ["B", "C", "D"])]

    run(main())


def test_slices_are_cut_by_predicted_time():
    async def main():
        room = Room(slice_s=0.45)
        await room.answers("ABCDEFGHIJ")

        assert [len(keys) for _, keys in room.slices] == [4, 4, 2]

    run(main())


def test_slices_are_longer_while_nobody_sits_and_waits():
    async def main():
        room = Room(slice_s=0.25, patient_slice_s=0.55)
        scan = asyncio.create_task(room.answers("ABCDEFGHIJKL", rank=Rank.SCAN))
        await asyncio.sleep(1.2)  # what is asked for now is fetched by 2.2, in the third slice
        await asyncio.gather(scan, room.answers("XYZ"))

        assert [len(keys) for _, keys in room.slices] == [5, 5, 2, 2, 1]

    run(main())


@pytest.mark.parametrize(("each_s", "sizes"), [(0.01, [16, 16, 8]), (0.08, [12, 12, 12, 4]), (3.0, [1] * 40)])
def test_slices_that_nobody_waits_for_fill_the_lanes_of_a_kernel_where_that_takes_a_second_at_most(each_s, sizes):
    async def main():
        room = Room(patient_slice_s=0.02, patient_least=16)
        room.each_s = each_s
        room.batcher.compute_cost.seed(0.0, each_s)
        await room.answers([f"S{i}" for i in range(40)], rank=Rank.SCAN)

        assert [len(keys) for _, keys in room.slices] == sizes

    run(main())


@room_test
async def test_a_long_list_leaves_a_fetch_to_whoever_sits_and_waits(room):
    room.batcher.limits = msgspec.structs.replace(LIMITS, fetch_slots=3, fetch_group=4)
    scan = asyncio.create_task(room.answers("ABCDEFGHIJKLMNOPQRST", rank=Rank.SCAN))
    await asyncio.sleep(0.5)
    assert room.fetches == [(0.0, list("ABCD")), (0.0, list("EFGH"))]  # the third slot stays free
    waits = asyncio.create_task(room.answers("Z"))
    await asyncio.sleep(0.1)
    assert room.fetches[2:] == [(0.5, ["Z"])]  # at once, and not together with the list's
    await asyncio.gather(scan, waits)


def test_a_list_is_fetched_no_further_ahead_than_it_takes_to_compute_for_a_while():
    async def main():
        room = Room(fetch_slots=3, fetch_group=4, fetch_ahead_s=2.0, patient_slice_s=0.4)
        room.fetch_s = 0.2
        scan = asyncio.create_task(room.answers([f"S{i}" for i in range(100)], rank=Rank.SCAN))
        ahead = []
        while not scan.done():
            await asyncio.sleep(0.3)
            ahead.append(sum(len(keys) for _, keys in room.fetches) - sum(len(keys) for _, keys in room.slices))
            if len(ahead) == 12:
                began = asyncio.get_running_loop().time()
                await room.answers("A")
                assert (began, ["A"]) in room.fetches  # at once, though the list's turn would be later
        assert await scan == [f"s{i}" for i in range(100)]
        assert 20 < max(ahead) <= 20 + 2 * 4 + 1  # two seconds of a tenth each, and what two fetches bring

    run(main())


def test_idle_threads_share_what_is_ready():
    async def main():
        room = Room(compute_slots=2)
        await room.answers("ABCDEF")

        assert room.slices == [(1.0, ["A", "B", "C"]), (1.0, ["D", "E", "F"])]

    run(main())


@room_test
async def test_interactive_goes_before_scans_and_scans_keep_their_share(room):
    room.batcher.limits = msgspec.structs.replace(LIMITS, slice_s=0.1, scan_share=0.2)
    names = [f"S{i}" for i in range(40)]
    scan = asyncio.create_task(room.answers(names, rank=Rank.SCAN))
    await asyncio.sleep(0)
    await room.answers([f"I{i}" for i in range(40)])
    led = [keys[0][0] for _, keys in room.slices]

    # The scan is fetched a second after the others, when ten of them are done; then one in five slices is its own.
    assert (led[:10].count("S"), led.count("S")) == (0, 7)
    await scan


def test_scans_of_two_owners_take_turns():
    async def main():
        room = Room(slice_s=0.1)
        first = asyncio.create_task(room.answers(["A1", "A2", "A3"], rank=Rank.SCAN, owner="a"))
        second = asyncio.create_task(room.answers(["B1", "B2", "B3"], rank=Rank.SCAN, owner="b"))
        await asyncio.gather(first, second)

        assert [keys[0] for _, keys in room.slices] == ["A1", "B1", "A2", "B2", "A3", "B3"]

    run(main())


@room_test
async def test_an_interactive_request_takes_the_flight_of_a_scan_along(room):
    room.batcher.limits = msgspec.structs.replace(LIMITS, slice_s=0.1)
    scan = asyncio.create_task(room.answers("ABCD", rank=Rank.SCAN))
    await asyncio.sleep(1.01)
    await room.answers("D")

    assert [keys[0] for _, keys in room.slices][:2] == ["A", "D"]
    await scan


@room_test
async def test_refreshes_only_run_when_nothing_else_waits(room):
    room.batcher.limits = msgspec.structs.replace(LIMITS, slice_s=0.1)
    room.batcher.refresh(["R"])
    await room.answers("ABC")
    await asyncio.sleep(5)

    assert [keys[0] for _, keys in room.slices] == ["A", "B", "C", "R"]


@room_test
async def test_a_heavy_flight_counts_as_what_it_weighs_in_the_backlog(room):
    room.weights = {"SPY": 50}
    waiter = room.ask(["SPY"])
    assert room.batcher.backlog_s(Rank.INTERACTIVE) == pytest.approx(0.1, rel=1e-3)
    await asyncio.sleep(1.01)
    assert room.batcher.backlog_s(Rank.INTERACTIVE) == pytest.approx(5.0, rel=1e-3)
    await waiter.all()
    await asyncio.sleep(0)
    assert room.batcher.backlog_s(Rank.INTERACTIVE) == 0.0
