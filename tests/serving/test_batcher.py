"""The waiting room on a loop whose clock jumps: what is asked, in which batches, and who gets what."""

import asyncio
import random

import msgspec
import pytest

from bq.errors import Problem
from bq.serving.bisection import Worked
from bq.serving.flights import Rank, Waiter
from tests.serving.loop import run
from tests.serving.room import LIMITS, Room, beats, room_test


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
    "step", ["pick_group", "pick_slice", "_launch", "_run_fetch", "_run_slice", "make_ready", "settle"]
)
def test_a_failure_at_any_step_is_followed_by_normal_service_within_a_second(step):
    """T11: a hundred times each."""

    async def main():
        room = Room()
        part = next(one for one in (room.batcher, room.batcher.slots, room.batcher.register) if hasattr(one, step))
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


@room_test
async def test_flights_of_a_batch_that_could_not_begin_are_found_and_their_keys_can_be_asked_for_again(room):
    """They were in no lane and in no batch, but marked as being fetched: their tickers were dead until a restart."""
    right = room.batcher._starved

    def broken():
        room.batcher._starved = right
        raise RuntimeError("injected")

    room.batcher._starved = broken
    asking = asyncio.create_task(room.answers("A"))
    await asyncio.sleep(1.0)
    room.batcher.beat()
    assert await asking == ["internal"]
    assert await room.answers("A") == ["a"]


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
