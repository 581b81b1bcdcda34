"""The false-discovery rate of a list: outside the data, the same by every way an answer can take."""

import msgspec
import numpy as np
import pytest
from scipy.stats import false_discovery_control

from bq.errors import Problem
from bq.serving import wire
from bq.serving.cache import Cache, Entry
from tests.serving.fakes import running
from tests.serving.test_cache import FakeClock, make


def entry(p_value: float) -> Entry:
    return Entry(b"{}", b"", 0.0, 1, 1.0, 1.0, 1.0, 1.0, p_value=p_value)


def cycles_of(p_values):
    items = [wire.item(f"T{i}", entry(p), bool(i % 2)) for i, p in enumerate(p_values)]
    return msgspec.json.decode(wire.many(items, 0, 0)).get("cycles")


@pytest.mark.parametrize("seed", range(20))
def test_discoveries_are_scipys(seed):
    rng = np.random.default_rng(seed)
    p = np.round(rng.uniform(size=40), 5)
    p[:seed] **= 4
    q = false_discovery_control(p)
    found = cycles_of(p)
    assert found["tested"] == 40
    assert found["smallest_q"] == pytest.approx(q.min(), rel=1e-5)
    assert found["discoveries"] == sorted(f"T{i}" for i in np.flatnonzero(q <= 0.05))


def test_of_five_hundred_tickers_of_noise_there_is_a_discovery_in_one_list_of_twenty():
    rng = np.random.default_rng(1)
    lists = [cycles_of(rng.uniform(size=500)) for _ in range(400)]
    assert np.mean([bool(one["discoveries"]) for one in lists]) == pytest.approx(0.05, abs=0.03)


def test_what_has_no_test_does_not_count():
    items = [
        wire.item("A", entry(0.04), True),
        wire.item("B", entry(float("nan")), True),
        wire.item("C", Problem("unknown_ticker", "no"), False),
        wire.item("D", None, False),
    ]
    assert msgspec.json.decode(wire.many(items, 1, 1))["cycles"] == {
        "tested": 1,
        "rate": 0.05,
        "smallest_q": 0.04,
        "discoveries": ["A"],
    }
    assert "cycles" not in msgspec.json.decode(wire.many(items[1:], 1, 1))


def test_a_stored_answer_keeps_its_p_value_over_a_restart():
    cache: Cache[str] = make(FakeClock())
    cache.put("a", b"{}", 0.0, cache.draw_ticket(), p_value=0.03)
    ((key, saved),) = cache.dump()
    other: Cache[str] = make(FakeClock())
    assert other.restore(key, saved, 1.0)
    assert other.get("a").p_value == 0.03


async def test_cold_stored_and_as_a_task_a_list_says_the_same(tmp_path):
    async with running(tmp_path) as server:
        server.engine.p_values = {"A": 0.001, "B": 0.04, "C": 0.6}
        body = {"tickers": ["A", "B", "C", "D"]}
        expected = {"tested": 3, "rate": 0.05, "smallest_q": 0.003, "discoveries": ["A"]}
        _, cold = await server.post(body)
        _, stored = await server.post(body)
        assert [one.get("cycle_p") for one in cold["data"]] == [0.001, 0.04, 0.6, None]
        assert cold["cycles"] == stored["cycles"] == expected
        _, accepted = await server.post(body, Prefer="respond-async")
        while (told := (await server.get(f"/api/task/{accepted['task_id']}"))[1])["status"] == "processing":
            pass
        assert told["result"]["cycles"] == expected
        assert all("cycle_p" not in one["data"] for one in cold["data"])
