"""The cache on disk: whole or not believed, and never in one piece in memory."""

import asyncio
import threading
import tracemalloc

import pytest

from bq.serving import snapshot
from bq.serving.cache import Cache
from tests.serving.clock import FakeClock
from tests.serving.fakes import running, until

WORLD = "world"


def filled(count: int, size: int) -> Cache[tuple[str, str, str]]:
    cache: Cache[tuple[str, str, str]] = Cache(FakeClock(), budget=64 << 20, soft=lambda: 60.0)
    for i in range(count):
        cache.put((f"T{i}", "full", WORLD), bytes([i % 256]) * size, 5.0, cache.draw_ticket(), p_value=i / 1000)
    return cache


def test_what_is_written_is_read_and_restored_in_the_order_of_use(tmp_path):
    cache = filled(10, 1000)
    cache.put(("OTHER", "full", "another world"), b"x", 0.0, cache.draw_ticket())
    cache.get(("T0", "full", WORLD))
    snapshot.write(tmp_path / "cache", snapshot.take(cache, WORLD, 100.0))
    found = snapshot.read(tmp_path / "cache")
    assert found is not None
    young: Cache[tuple[str, str, str]] = Cache(FakeClock(), budget=64 << 20, soft=lambda: 60.0)

    assert snapshot.restore(young, found, "another world", 100.0) == 0
    assert snapshot.restore(young, found, WORLD, 107.0) == 10
    assert [key[0] for key, _ in young.dump()] == [*(f"T{i}" for i in range(1, 10)), "T0"]
    entry = young.get(("T3", "full", WORLD))
    assert entry is not None
    assert (entry.data, entry.as_of, entry.p_value) == (b"\x03" * 1000, 5.0, 0.003)


def test_a_snapshot_of_nothing_is_one(tmp_path):
    snapshot.write(tmp_path / "cache", snapshot.take(filled(0, 0), WORLD, 100.0))

    assert snapshot.read(tmp_path / "cache") == snapshot.Snapshot(100.0, [])


def test_a_file_that_lost_or_changed_anything_is_not_believed(tmp_path):
    path = tmp_path / "cache"
    snapshot.write(path, snapshot.take(filled(3, 100), WORLD, 100.0))
    whole = path.read_bytes()
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        assert snapshot.read(path) is None, cut
    for at in range(0, len(whole), 7):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        assert snapshot.read(path) is None, at
    assert snapshot.read(tmp_path / "none") is None


@pytest.mark.parametrize("count", [400])
def test_writing_and_reading_take_no_second_copy_of_the_cache(tmp_path, count):
    cache = filled(count, 50_000)
    taken = snapshot.take(cache, WORLD, 100.0)
    tracemalloc.start()
    snapshot.write(tmp_path / "cache", taken)
    _, written = tracemalloc.get_traced_memory()
    tracemalloc.reset_peak()
    found = snapshot.read(tmp_path / "cache")
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert found is not None
    assert written < 2 << 20
    assert count * 50_000 <= kept
    assert peak - kept < 3 << 20


async def test_a_write_that_the_end_of_the_server_overtakes_does_not_mix_with_the_last_one(tmp_path, monkeypatch):
    """Both wrote into the same file at the same time: the checksum did not hold, and the whole cache was lost."""
    write, gate, begun, ended = snapshot.write, threading.Event(), [], []

    def slow(path, taken):
        begun.append(len(ended))
        if len(begun) == 1:
            gate.wait()
        write(path, taken)
        ended.append(path)

    monkeypatch.setattr(snapshot, "write", slow)
    async with running(tmp_path, snapshot_s=0.01) as server:
        await until(lambda: len(begun) == 1)
        service = server.service
        for keeper in service._keepers:
            keeper.cancel()
        last = asyncio.create_task(service.save_cache())
        await asyncio.sleep(0.05)
        gate.set()
        await last
        assert begun == [0, 1]  # each began when the one before had ended
