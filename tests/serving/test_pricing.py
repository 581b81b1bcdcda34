"""Arrays of options over HTTP."""

import asyncio
import io

import msgspec
import numpy as np
import pytest

import bq
from bq.errors import Failure
from bq.serving import pricing
from bq.serving.openapi import Error
from bq.serving.pricing import MOST_ROWS, Body, Implied, ImpliedVolBody, PriceBody, Priced, Room
from tests.serving.fakes import running

OPTION = {"spot": 100, "strike": 100, "tau": 0.25, "rate": 0.04, "dividend": 0.01, "sigma": 0.3, "is_call": True}


@pytest.fixture
async def server(tmp_path):
    async with running(tmp_path) as server:
        yield server


async def test_prices_are_those_of_the_library(server):
    body = OPTION | {"strike": [90, 100.5, None], "is_call": [True, False, True], "style": "american"}
    status, reply = await server.post(body, "/api/price")
    expected = bq.price(**(body | {"strike": [90, 100.5, np.nan]}))

    assert status == 200
    assert reply["count"] == 3
    assert reply["meaning"] == {"0": "ok", "5": "bad_input"}
    for name, column in zip(expected._fields, expected, strict=True):
        assert reply["data"][name] == [None if np.isnan(value) else value for value in column.tolist()]
    msgspec.convert(reply, Priced)


async def test_one_option_of_single_values_is_one_row(server):
    status, reply = await server.post(OPTION, "/api/price")

    assert (status, reply["count"]) == (200, 1)
    assert reply["data"]["price"] == [float(bq.price(**OPTION).price[0])]


async def test_implied_volatilities_come_back_with_a_status_each(server):
    rows = OPTION | {"price": [6.2, 0.0, 99.9], "style": ["american", "european", "american"]}
    del rows["sigma"]
    status, reply = await server.post(rows, "/api/implied-vol")

    assert status == 200
    assert reply["data"]["status"] == [0, 1, 0]
    assert reply["data"]["sigma"][1] is None
    assert reply["meaning"] == {"0": "ok", "1": "below_intrinsic"}
    msgspec.convert(reply, Implied)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"strike": [1, 2], "sigma": [0.1, 0.2, 0.3]}, "strike has 2, sigma has 3"),
        ({"strike": "100"}, "strike does not read"),
        ({"strike": [100, "x"]}, "$[1]"),
        ({"strike": {}}, "strike does not read"),
        ({"is_call": "call"}, "is_call does not read"),
        ({"is_call": None}, "is_call does not read"),
        ({"style": "bermudan"}, "style does not read: Invalid enum value 'bermudan'. One of these will do: european"),
        ({"volatility": 0.2}, "unknown field `volatility`"),
        ({"sigma": ...}, "missing required field `sigma`"),
    ],
)
async def test_a_malformed_request_is_told_what_is_wrong(server, change, text):
    body = {name: value for name, value in (OPTION | change).items() if value is not ...}
    status, reply = await server.post(body, "/api/price")

    assert status == 400
    assert text in reply["error"]
    msgspec.convert(reply, Error)


async def test_a_hundred_thousand_rows_are_answered_and_one_more_is_not(server):
    strikes = (50.0 + 0.001 * np.arange(MOST_ROWS)).tolist()
    status, reply = await server.post(OPTION | {"strike": strikes}, "/api/price")
    assert (status, reply["count"]) == (200, MOST_ROWS)
    assert set(reply["data"]["status"]) == {0}

    status, reply = await server.post(OPTION | {"strike": [*strikes, 1.0]}, "/api/price")
    assert (status, reply["code"]) == (413, "too_large")
    assert str(MOST_ROWS) in reply["error"]


def test_a_body_of_too_many_numbers_is_refused_before_it_is_decoded():
    reader = Body(PriceBody)
    reader.split = None  # to read any further would fail
    with pytest.raises(Failure) as caught:
        reader.read(b"," * (8 * (MOST_ROWS + 1) + 1))
    assert caught.value.problem.code == "too_large"


async def test_a_body_over_sixteen_mebibytes_is_refused(server):
    headers = {"Content-Type": "application/json"}
    body = b'{"spot":' + b" " * (16 << 20) + b"1}"
    async with server.client.post(server.url("/api/price"), data=io.BytesIO(body), headers=headers) as response:
        assert response.status == 413


async def test_parts_are_computed_one_after_another_and_put_together_in_order(server, monkeypatch):
    monkeypatch.setattr(pricing, "PART_S", 1e-9)
    strikes = np.linspace(80, 120, 23).tolist()
    body = OPTION | {"strike": strikes, "style": "american"}
    status, reply = await server.post(body, "/api/price")

    assert status == 200
    assert reply["data"]["delta"] == bq.price(**body).delta.tolist()


def test_room_is_given_up_to_a_limit_and_given_back():
    room = Room(100, 1.0)
    with room.hold(60):
        with pytest.raises(Failure) as caught, room.hold(60):
            pass
        assert caught.value.problem.code == "too_busy"
        assert caught.value.problem.retry_after
        with room.hold(40), room.work(0.9), pytest.raises(Failure), room.work(0.2):
            pass
    with room.hold(1000), room.work(5.0):  # alone, a request larger than the room is served
        pass
    assert (room.bytes, room.seconds) == (0, 0.0)


async def test_a_server_without_room_says_when_to_come_back(server):
    gate = asyncio.Event()

    async def stalled():
        yield b'{"spot":'
        await gate.wait()
        yield b"1}"

    headers = {"Content-Type": "application/json", "Content-Length": "4194304"}
    big = [
        asyncio.create_task(server.client.post(server.url("/api/price"), data=stalled(), headers=headers).__aenter__())
        for _ in range(17)
    ]
    await asyncio.wait(big, return_when=asyncio.FIRST_COMPLETED)
    refused = next(task.result() for task in big if task.done())
    assert refused.status == 503
    assert refused.headers["Retry-After"] == "1"
    gate.set()
    for task in big:
        task.cancel()
    await asyncio.gather(*big, return_exceptions=True)


async def test_clients_are_charged_by_the_work_they_ask_for(tmp_path):
    async with running(tmp_path, client_rate=1.0, client_burst=10.0) as server:
        body = OPTION | {"strike": [100.0] * 2700, "style": "american"}  # ten tickers' worth
        assert (await server.post(body, "/api/price"))[0] == 200
        status, reply = await server.post(OPTION, "/api/price")
        assert (status, reply["code"]) == (429, "too_many_requests")


def test_both_bodies_read_into_the_columns_of_the_library():
    assert set(Body(ImpliedVolBody).decoders) == set(Body(PriceBody).decoders) - {"sigma"} | {"price"}
