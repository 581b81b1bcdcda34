"""The waiting room on a loop whose clock jumps: what is asked, in which batches, and who gets what."""

import asyncio
import random

import msgspec
import pytest

from bq.errors import Problem
from bq.serving.admission import Limits
from bq.serving.bisection import Worked
from bq.serving.compute import Pools
from bq.serving.flights import Rank, Waiter
from tests.serving.loop import run
from tests.serving.room import LIMITS, Room, room_test


@room_test
async def test_equal_keys_are_asked_once(room):
    assert await asyncio.gather(*[room.answers("A") for _ in range(1000)]) == [["a"]] * 1000
    assert (room.fetches, room.slices) == ([(0.0, ["A"])], [(1.0, ["A"])])


@room_test
async def test_a_burst_shares_a_batch_without_a_window(room):
    await asyncio.gather(*[room.answers(key) for key in "ABC"])

    assert room.fetches == [(0.0, ["A", "B", "C"])]
    assert room.slices == [(1.0, ["A", "B", "C"])]


@room_test
async def test_the_sum_of_joins_and_leads_is_the_misses(room):
    """T02."""
    names = [f"T{i}" for i in range(200)]
    rng = random.Random(3)
    requests = [rng.sample(names, 50) for _ in range(300)]
    await asyncio.gather(*[room.answers(request) for request in requests])
    asked = {name for request in requests for name in request}

    assert sorted(key for _, keys in room.slices for key in keys) == sorted(asked)
    assert room.batcher.tally.joins + room.batcher.tally.leads == 300 * 50
    assert room.batcher.tally.leads == len(asked)


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
async def test_a_problem_of_the_source_is_its_own_keys_problem(room):
    room.unknown = {"B"}

    assert await room.answers("ABC") == ["a", "unknown_ticker", "c"]
    assert room.cache.refusal("B") is not None


@room_test
async def test_an_unknown_key_is_fetched_once_a_life_and_works_afterwards(room):
    """T09: the refusal is what the desk looks at before it asks."""
    room.unknown = {"B"}
    await room.answers("B")
    assert room.cache.refusal("B") is not None
    room.unknown.clear()
    await asyncio.sleep(601)

    assert room.cache.refusal("B") is None
    assert await room.answers("B") == ["b"]


@room_test
async def test_a_poisonous_key_among_64_is_found_by_bisection(room):
    """T10."""
    names = [f"T{i}" for i in range(64)]
    room.poison = {"T37"}
    answers = await room.answers(names)

    assert [answer for answer in answers if answer == "compute_failed"] == [answers[37]]
    assert len(room.slices) - 1 <= 2 * 6 + 1
    assert room.cache.refusal("T37") is not None
    await asyncio.sleep(61)
    assert room.cache.refusal("T37") is None


@room_test
async def test_an_answer_of_the_wrong_length_fails_its_keys_and_leaves_no_residue(room):
    async def short(keys, snapshots, hurried):
        return Worked([b"x"] * (len(keys) - 1), 0.0)

    right, room.batcher.bisection.compute = room.batcher.bisection.compute, short
    assert await room.answers("AB") == ["compute_failed"] * 2
    assert room.batcher.flights == 0
    room.batcher.bisection.compute = right
    assert await room.answers("C") == ["c"]


@room_test
async def test_a_fetch_that_raises_fails_its_keys_and_is_not_fatal(room):
    async def broken(keys):
        raise OSError("no route")

    right, room.batcher._fetch = room.batcher._fetch, broken
    assert await room.answers("AB") == ["source_failed"] * 2
    room.batcher._fetch = right
    assert await room.answers("C") == ["c"]


@pytest.mark.parametrize(
    "step", ["_pick_group", "_pick_slice", "_launch", "_run_fetch", "_run_slice", "make_ready", "settle"]
)
def test_a_failure_at_any_step_is_followed_by_normal_service_within_a_second(step):
    """T11: a hundred times each."""

    async def main():
        room = Room()
        part = room.batcher if hasattr(room.batcher, step) else room.batcher.register
        right, injected = getattr(part, step), 0

        def broken(*args, **kwargs):
            nonlocal injected
            injected += 1
            setattr(part, step, right)
            raise RuntimeError("injected")

        beat = asyncio.create_task(beats(room.batcher))
        for i in range(100):
            setattr(part, step, broken)
            now = asyncio.get_running_loop().time()
            await room.answers([f"broken{i}"], deadline=now + 5)
            now = asyncio.get_running_loop().time()
            assert await room.answers([f"fine{i}"], deadline=now + 3) == [f"fine{i}"]
        beat.cancel()
        assert injected == 100
        assert room.batcher.flights == 0
        assert set(room.batcher.register.load.values()) == {0}
        assert set(room.batcher.register.weights.values()) == {0}

    run(main())


async def beats(batcher):
    while True:
        batcher.beat()
        await asyncio.sleep(1)


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


@room_test
async def test_the_only_waiter_leaves_while_queued_and_a_newcomer_of_the_same_tick_is_served(room):
    """T07: golang's singleflight wrappers let the newcomer join the cancelled flight."""
    waiter = room.ask("A")
    room.batcher.leave(waiter)
    assert await room.answers("A") == ["a"]

    assert (len(room.fetches), room.batcher.tally.dropped) == (1, 1)


@room_test
async def test_a_key_that_nobody_waits_for_is_never_computed(room):
    first = room.ask("A")
    await asyncio.sleep(0.5)
    room.batcher.leave(first)
    await asyncio.sleep(5)

    assert (room.slices, room.batcher.flights) == ([], 0)


@room_test
async def test_one_waiter_leaving_does_not_disturb_the_others(room):
    """T05."""
    waiters = [room.ask("A") for _ in range(100)]
    await asyncio.sleep(0.5)
    room.batcher.leave(waiters[0])
    for waiter in waiters[1:]:
        await waiter.all()

    assert [waiter.answers[0].data for waiter in waiters[1:]] == [b"a"] * 99
    assert len(room.slices) == 1


@room_test
async def test_a_wait_that_is_cut_short_and_kept_goes_on_when_there_is_time(room):
    waiter = room.ask("A", deadline=0.5)
    await waiter.all()
    room.batcher.leave(waiter, keep=True)
    await asyncio.sleep(5)

    assert waiter.answers == {}
    assert room.cache.get("A").data == b"a"


@room_test
async def test_random_departures_leave_no_residue(room):
    """T06: a thousand requests, each given up at a random moment."""
    rng = random.Random(7)

    async def client():
        await asyncio.sleep(rng.uniform(0, 20))
        waiter = room.ask(rng.sample("ABCDEFGHIJ", 3))
        try:
            async with asyncio.timeout(rng.uniform(0, 3)):
                await waiter.all()
        except TimeoutError:
            pass
        finally:
            room.batcher.leave(waiter)

    await asyncio.gather(*[client() for _ in range(1000)])
    await asyncio.sleep(10)

    assert room.batcher.flights == 0
    assert set(room.batcher.register.load.values()) == {0}
    assert len(room.batcher.register.waiting) + len(room.batcher.register.ready) == 0


@room_test
async def test_a_miss_right_behind_the_completion_finds_the_cache_written(room):
    """T04: the answer is in the cache at the moment at which the flight is gone."""
    seen = []
    forget = room.batcher.register._forget
    room.batcher.register._forget = lambda flight: (seen.append(room.cache.get(flight.key)), forget(flight))
    await room.answers("A")

    assert [entry.data for entry in seen] == [b"a"]


@room_test
async def test_too_much_predicted_work_is_refused_with_a_time_to_come_back(room):
    room.batcher.limits = msgspec.structs.replace(LIMITS, max_backlog_s=5.0)
    assert isinstance(room.ask([f"T{i}" for i in range(100)]), Waiter)
    problem = room.ask("Z")

    assert isinstance(problem, Problem)
    assert (problem.code, problem.retry_after) == ("too_busy", 10.0)


@room_test
async def test_joining_a_flight_is_never_refused(room):
    room.batcher.limits = msgspec.structs.replace(LIMITS, max_backlog_s=5.0)
    room.ask([f"T{i}" for i in range(100)])

    assert isinstance(room.ask(["T5", "T99"]), Waiter)


@room_test
async def test_too_many_flights_are_refused(room):
    room.batcher.limits = msgspec.structs.replace(LIMITS, max_flights=10)
    room.ask("ABCDEFGH")

    assert isinstance(room.ask("XYZ"), Problem)
    assert isinstance(room.ask("XY"), Waiter)


@room_test
async def test_a_deadline_that_cannot_be_met_is_refused(room):
    room.ask([f"T{i}" for i in range(100)])

    assert room.ask("Z", deadline=3.0).code == "too_busy"
    assert isinstance(room.ask("Z", deadline=30.0), Waiter)


@room_test
async def test_a_scan_is_not_counted_against_interactive_requests(room):
    room.batcher.limits = msgspec.structs.replace(LIMITS, max_backlog_s=5.0)
    room.ask([f"T{i}" for i in range(1000)], rank=Rank.SCAN)

    assert isinstance(room.ask("Z"), Waiter)


@room_test
async def test_answers_come_slice_by_slice_to_who_wants_them_so(room):
    room.batcher.limits = msgspec.structs.replace(LIMITS, slice_s=0.25)
    waiter = room.ask("ABCDE")
    batches = []
    while slots := await waiter.some():
        batches.append(slots)

    assert batches == [[0, 1], [2, 3], [4]]


@room_test
async def test_closing_frees_every_waiter(room):
    waiter = room.ask("A")
    await room.batcher.close()
    await waiter.all()

    assert waiter.answers[0].code == "not_ready"
    assert room.ask("B").code == "not_ready"


@room_test
async def test_a_subscriber_that_cannot_take_its_answer_does_not_cost_the_others_theirs(room):
    bad, good = room.ask("A"), room.ask("A")
    bad.fill = None
    await good.all()

    assert good.answers[0].data == b"a"
    assert room.batcher.tally.delivery_failures == 1


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
async def test_a_heavy_flight_counts_as_what_it_weighs_in_the_backlog(room):
    room.weights = {"SPY": 50}
    waiter = room.ask(["SPY"])
    assert room.batcher.backlog_s(Rank.INTERACTIVE) == pytest.approx(0.1, rel=1e-3)
    await asyncio.sleep(1.01)
    assert room.batcher.backlog_s(Rank.INTERACTIVE) == pytest.approx(5.0, rel=1e-3)
    await waiter.all()
    await asyncio.sleep(0)
    assert room.batcher.backlog_s(Rank.INTERACTIVE) == 0.0


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
