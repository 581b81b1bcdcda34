"""A caller's own legs over HTTP, on a server with the sample market."""

import asyncio
import contextlib
import datetime as dt

import msgspec
import numpy as np
import pytest

from bq.analysis import engine, given_legs
from bq.market.sample import SampleMarket
from bq.serving.openapi import Error
from bq.serving.suspects import FATAL, LIMIT, Suspect
from bq.serving.what_if import WhatIfAnswer
from tests.serving.fakes import FakeMarket, running, until

NOW = dt.datetime(2026, 6, 30, 21, tzinfo=dt.UTC)


class CountingMarket(SampleMarket):
    def __init__(self) -> None:
        super().__init__(lambda: NOW)
        self.asked = []

    def fetch(self, tickers):
        self.asked += tickers
        return super().fetch(tickers)


@pytest.fixture
def market():
    return CountingMarket()


@pytest.fixture
async def server(tmp_path, market):
    async with running(tmp_path, market=market) as server:
        yield server


def legs_of(analysis):
    return [
        {"type": leg.type, "strike": leg.strike, "expiry": leg.expiry, "quantity": leg.quantity}
        for leg in analysis.extended.legs
    ]


async def test_the_answer_has_the_numbers_of_the_analysis(server, market):
    (analysis,) = engine.analyze(market.fetch(["MSFT"]))
    status, reply = await server.post({"ticker": " msft ", "legs": legs_of(analysis)}, "/api/what-if")

    assert status == 200
    found = msgspec.convert(reply, WhatIfAnswer)
    assert found.data.risk.ev_forecast == analysis.extended.risk.ev_forecast
    assert found.data.greeks == analysis.butterfly.greeks


async def test_quotes_are_fetched_once_however_many_ask(server, market):
    (analysis,) = engine.analyze(market.fetch(["AAPL"]))
    market.asked.clear()
    body = {"ticker": "AAPL", "legs": legs_of(analysis)}
    replies = await asyncio.gather(*(server.post(body, "/api/what-if") for _ in range(5)))
    later = await server.post(body, "/api/what-if")

    assert market.asked == ["AAPL"]
    assert {status for status, _ in replies} == {200}
    assert [later[1]["from_cache"], replies[0][1]["from_cache"]] == [True, False]
    assert replies[0][1]["data"] == later[1]["data"]


async def test_the_quotes_are_fetched_again_when_they_are_no_longer_fresh(tmp_path, market):
    clock = [1000.0]
    options = {"clock": lambda: clock[0]}
    async with running(tmp_path, market=market, options=options, soft_ttl_closed_s=60.0) as server:
        (analysis,) = engine.analyze(market.fetch(["AAPL"]))
        market.asked.clear()
        body = {"ticker": "AAPL", "legs": legs_of(analysis)}
        for moment in (1000.0, 1059.0, 1061.0):
            clock[0] = moment
            assert (await server.post(body, "/api/what-if"))[0] == 200
        assert market.asked == ["AAPL", "AAPL"]


LEG = {"type": "call", "strike": 100.0, "expiry": "2026-07-17", "quantity": 1}


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        ({"ticker": "NOPE", "legs": [LEG]}, 404, "no such ticker"),
        ({"ticker": "AAPL", "legs": [LEG | {"strike": 100.01}]}, 400, "the nearest listed"),
        ({"ticker": "AAPL", "legs": []}, 400, "legs"),
        ({"ticker": "AAPL", "legs": [LEG] * 41}, 400, "legs"),
        ({"ticker": "AAPL", "legs": [LEG | {"type": "straddle"}]}, 400, "$.legs[0].type"),
        ({"ticker": "AAPL", "legs": [LEG | {"quantity": 1.5}]}, 400, "$.legs[0].quantity"),
        ({"ticker": "AAPL", "legs": [LEG | {"expiry": "next friday"}]}, 400, "$.legs[0].expiry"),
        ({"ticker": "AAPL", "legs": [LEG | {"strikes": 3}]}, 400, "strikes"),
        ({"legs": [LEG]}, 400, "ticker"),
        ({"ticker": "A B", "legs": [LEG]}, 400, "cannot be a ticker"),
    ],
)
async def test_what_cannot_be_answered_is_told_why(server, body, status, text):
    found, reply = await server.post(body, "/api/what-if")

    assert found == status
    assert text in reply["error"]
    msgspec.convert(reply, Error)


async def test_an_expiry_at_the_end_of_time_is_refused_and_not_counted_to(server):
    """Without a chain the exchange's calendar was made for eight thousand years, and was too short then."""
    leg = LEG | {"expiry": "9999-12-31", "price": 1.0}
    status, reply = await server.post({"ticker": "^GSPC", "legs": [leg]}, "/api/what-if")

    assert (status, reply["code"]) == (400, "bad_request")
    assert "sessions away" in reply["error"]


async def test_a_market_that_raises_is_a_bad_gateway(server, market):
    market.fetch = lambda tickers: 1 / 0
    status, reply = await server.post({"ticker": "AAPL", "legs": [LEG]}, "/api/what-if")

    assert (status, reply["code"]) == (502, "source_failed")


async def test_a_study_that_raises_is_told_and_not_tried_again_at_once(server, monkeypatch):
    monkeypatch.setattr(given_legs, "study", lambda snapshot: 1 / 0)
    for _ in range(2):
        status, reply = await server.post({"ticker": "AAPL", "legs": [LEG]}, "/api/what-if")
        assert (status, reply["code"]) == (500, "compute_failed")


@pytest.mark.parametrize("name", ["AAPL", "what-if AAPL"])
async def test_a_ticker_that_kills_the_process_is_not_studied_either(server, market, name):
    server.service.suspects.accuse({name: Suspect(LIMIT, 0.0)}, {}, 0.0)
    status, reply = await server.post({"ticker": "AAPL", "legs": [LEG]}, "/api/what-if")

    assert (status, reply["code"]) == (500, "compute_failed")
    assert "died" in reply["error"]
    assert market.asked == []


async def test_what_is_studied_is_on_record_meanwhile_and_a_study_that_ends_clears_it(server, monkeypatch):
    """A death of the process in the middle is held against it, and not against its analysis."""
    suspects, recorded = server.service.suspects, []
    suspects.accuse({"what-if AAPL": Suspect(FATAL, 0.0), "AAPL": Suspect(FATAL, 0.0)}, {}, 0.0)
    study, under_way = given_legs.study, server.service.pools.under_way

    @contextlib.contextmanager
    def noted(names):
        recorded.append([*names, "begun"])
        with under_way(names):
            yield
        recorded.append([*names, "ended"])

    server.service.pools.under_way = noted
    monkeypatch.setattr(given_legs, "study", lambda snapshot: (recorded.append(["study"]), study(snapshot))[1])
    await server.post({"ticker": "AAPL", "legs": [LEG]}, "/api/what-if")

    assert recorded == [["what-if AAPL", "begun"], ["study"], ["what-if AAPL", "ended"]]
    assert list(suspects.known) == ["AAPL"]


async def test_a_ticker_without_history_is_an_error_of_the_data(tmp_path):
    async with running(tmp_path, market=FakeMarket()) as server:
        status, reply = await server.post({"ticker": "AAPL", "legs": [LEG]}, "/api/what-if")
        assert (status, reply["code"]) == (422, "not_enough_data")


async def test_a_client_that_goes_away_leaves_the_work_to_the_others(server, market):
    (analysis,) = engine.analyze(market.fetch(["AAPL"]))
    market.asked.clear()
    body = {"ticker": "AAPL", "legs": legs_of(analysis)}
    first = asyncio.create_task(server.post(body, "/api/what-if"))
    second = asyncio.create_task(server.post(body, "/api/what-if"))
    await until(lambda: server.service.in_flight > 0)
    first.cancel()
    status, reply = await second

    assert status == 200
    assert np.isfinite(reply["data"]["risk"]["ev_forecast"])
    assert market.asked == ["AAPL"]
    await asyncio.gather(first, return_exceptions=True)
