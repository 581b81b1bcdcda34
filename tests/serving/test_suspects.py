"""Tickers that were being analysed when the process died: found, set apart, condemned, and forgiven."""

import asyncio
import signal

import pytest

from bq.serving.blackbox import KEEP_S, BlackBox
from bq.serving.flights import Rank
from bq.serving.suspects import FATAL, LIMIT, UNEXPLAINED, Suspect, Suspects
from tests.serving.fakes import running
from tests.serving.loop import run
from tests.serving.processes import process
from tests.serving.room import Room
from tests.serving.test_faults import finished, metric


def room_with(known: dict[str, Suspect], **limits) -> Room:
    suspects = Suspects()
    suspects.accuse(known, {}, 0.0)
    return Room(suspects=suspects, compute_slots=2, **limits)


def test_a_suspect_is_computed_while_nothing_else_is_and_the_others_share_slices():
    async def main():
        room = room_with({"C": Suspect(1, 0.0), "E": Suspect(2, 0.0)})
        answers = await room.answers("ABCDEFGH")
        spans = [(began, began + room.each_s * len(keys), keys) for began, keys in room.slices]

        assert answers == list("abcdefgh")
        assert [keys for _, _, keys in spans][:2] == [["C"], ["E"]]
        assert spans[0][1] <= spans[1][0]
        assert all(began >= spans[1][1] for began, _, _ in spans[2:])
        assert room.batcher.tally.apart == 2

    run(main())


def test_a_suspect_waits_for_what_runs_and_nothing_new_begins_before_it():
    async def main():
        room = room_with({"X": Suspect(1, 0.0)}, slice_s=0.1)
        room.fetch_s = 0.0
        scan = asyncio.create_task(room.answers([f"S{i}" for i in range(20)], rank=Rank.SCAN))
        await asyncio.sleep(0.05)
        await room.answers("X")
        before = [keys for began, keys in room.slices if began < 0.05]
        await scan

        assert [keys for _, keys in room.slices][len(before)] == ["X"]

    run(main())


def test_a_suspect_that_is_computed_is_cleared():
    async def main():
        room = room_with({"C": Suspect(1, 0.0)})
        told = []
        room.suspects._on_change = lambda: told.append(dict(room.suspects.known))
        await room.answers("C")
        await asyncio.sleep(100)
        room.cache.invalidate_all()
        await room.answers("ABC")

        assert told == [{}]
        assert room.batcher.tally.apart == 1

    run(main())


def test_a_condemned_key_is_answered_and_not_computed():
    async def main():
        room = room_with({"C": Suspect(LIMIT, 0.0)})
        assert await room.answers("ABC") == ["a", "b", "compute_failed"]
        assert "C" not in [key for _, keys in room.slices for key in keys]
        assert room.batcher.flights == 0

    run(main())


def test_a_suspect_that_hangs_is_found_as_soon_as_a_request_would_be():
    """Everybody waits for it, whoever asked."""

    async def main():
        room = room_with({"C": Suspect(1, 0.0)})
        room.hang = 600.0
        asked = asyncio.create_task(room.answers("C", rank=Rank.SCAN))
        for _ in range(9):
            await asyncio.sleep(1)
            room.batcher.beat()
        assert room.batcher.is_stuck
        assert await asked == ["too_busy"]

    run(main())


def died(folder, *slices, words=""):
    """Leave the files of a process that died with these slices under way."""
    box = BlackBox(folder)
    box.open()
    box.confess(words)
    held = [box.under_way(names) for names in slices]
    for index, one in enumerate(held):
        box._local.slot = index
        one.__enter__()
    box.close(clean=False)
    return held  # or the generators would end, and empty their slots


def test_what_was_under_way_at_a_death_is_told_and_what_was_done_is_not(tmp_path):
    held = died(tmp_path, ["A", "B"], ["C"])
    other = BlackBox(tmp_path)
    other.open()
    with other.under_way(["D"]):
        pass
    other.close(clean=False)

    assert BlackBox(tmp_path).read("w", 0.0) == ({}, {"A": 1, "B": 1, "C": 1})
    assert len(held) == 2


def test_a_process_that_lives_is_not_taken_for_a_dead_one(tmp_path):
    box = BlackBox(tmp_path)
    box.open()
    with box.under_way(["A"]):
        assert BlackBox(tmp_path).read("w", 0.0) == ({}, {})
    box.close(clean=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("words", "points"), [("Fatal Python error: Aborted", FATAL), ("", UNEXPLAINED)])
def test_deaths_add_up_over_restarts_in_one_world_and_are_forgotten_in_another(tmp_path, words, points):
    """Three by its own doing condemn; being killed from outside has to happen far more often."""
    for deaths in range(1, LIMIT // points + 1):
        held = died(tmp_path, ["A"], words=words)
        box, suspects = BlackBox(tmp_path), Suspects()
        suspects.accuse(*box.read("w", 100.0), 100.0)
        assert suspects.known == {"A": Suspect(deaths * points, 100.0)}
        assert suspects.condemned == (deaths * points >= LIMIT)
        box.keep("w", suspects.known)
        del held
    assert suspects.verdict("A").code == "compute_failed"
    assert [path.name for path in tmp_path.iterdir()] == ["suspects.json"]
    assert BlackBox(tmp_path).read("other", 100.0) == ({}, {})


def test_deaths_with_an_analysis_in_between_condemn_nobody(tmp_path):
    """An operator kills the process again and again: whoever was under way is computed apart, and cleared."""
    for _ in range(4):
        held = died(tmp_path, ["A"], words="Fatal")
        box, suspects = BlackBox(tmp_path), Suspects()
        suspects.accuse(*box.read("w", 100.0), 100.0)
        assert suspects.suspects("A")
        assert suspects.verdict("A") is None
        suspects.acquit(["A"])
        box.keep("w", suspects.known)
        del held


def test_a_suspicion_lapses_and_the_condemned_are_tried_once_more(tmp_path):
    BlackBox(tmp_path).keep("w", {"A": Suspect(LIMIT + 2, 0.0), "B": Suspect(1, 0.0), "C": Suspect(1, KEEP_S)})
    kept, _ = BlackBox(tmp_path).read("w", KEEP_S + 1.0)

    assert kept == {"A": Suspect(LIMIT - FATAL, KEEP_S + 1.0), "C": Suspect(1, KEEP_S)}


@pytest.mark.parametrize("damage", [b"", b"\x05", b"\xff\xff\xff\x7f[]", b"\x04\x00\x00\x00[1,2]"])
def test_a_damaged_file_says_nothing(tmp_path, damage):
    (tmp_path / "under_way.dead").write_bytes(damage)
    (tmp_path / "suspects.json").write_bytes(b"{")

    assert BlackBox(tmp_path).read("w", 0.0) == ({}, {})


async def test_an_orderly_end_leaves_no_suspects(tmp_path):
    async with running(tmp_path) as server:
        await server.post({"tickers": ["A", "B"]})
    assert not list(tmp_path.glob("under_way*"))
    assert not (tmp_path / "suspects.json").exists()


async def test_a_ticker_that_kills_the_process_does_not_keep_a_task_from_its_end(tmp_path):
    """The supervisor starts it again and again: three deaths, then all have their answers and it has an error."""
    names = [f"T{i}" for i in range(40)] + ["ABORT"] + [f"U{i}" for i in range(40)]
    async with process(tmp_path, "abort") as (server, client):
        await server.answering(client)
        headers = {"Prefer": "respond-async"}
        async with client.post(server.url("/api/analyze"), json={"tickers": names}, headers=headers) as response:
            assert response.status == 202
            location = response.headers["Location"]
        assert await server.ended() == -signal.SIGABRT
    for _ in range(2):
        async with process(tmp_path, "abort") as (server, client):
            assert await server.ended() == -signal.SIGABRT
    async with process(tmp_path, "abort") as (server, client):
        await server.answering(client)
        result = await finished(client, server.url(location))
        assert await metric(client, server.url("/metrics"), "bq_suspects") == 1
        async with client.post(server.url("/api/analyze"), json={"ticker": "ABORT"}) as response:
            assert (response.status, (await response.json())["code"]) == (500, "compute_failed")

    assert [item["ticker"] for item in result["data"]] == names
    assert [item["ticker"] for item in result["data"] if item["status"] != "ok"] == ["ABORT"]
    assert result["data"][40]["code"] == "compute_failed"
