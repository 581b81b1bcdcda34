"""The description says what the server does: all of its routes, nothing else, and answers of the described form."""

import asyncio
import re
import threading

import msgspec
import pytest
import schemathesis
from aiohttp import web
from hypothesis import HealthCheck, given, settings
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from bq.serving.app import FEATURES, OPERATIONS
from bq.serving.openapi import Accepted, Completed, Error, Health, Processing, Tickers, describe
from tests.serving.fakes import running


@pytest.fixture
async def server(tmp_path):
    async with running(tmp_path) as server:
        yield server


async def test_every_route_is_described_and_every_description_is_served(server):
    served = {
        (one.method.lower(), one.resource.canonical)
        for one in server.app.router.routes()
        if one.method in ("GET", "POST") and isinstance(one.resource, web.Resource)
    }

    assert served == {(operation.method, operation.path) for operation in OPERATIONS}
    assert len(FEATURES) >= 3


async def test_the_description_is_served_and_refers_to_nothing_missing(server):
    status, description = await server.get("/openapi.json")
    text = msgspec.json.encode(description).decode()

    assert (status, description["openapi"]) == (200, "3.1.0")
    for name in re.findall(r'"#/components/schemas/([^"]+)"', text):
        assert name in description["components"]["schemas"]


async def test_the_page_is_served_and_needs_nothing_from_elsewhere(server):
    async with server.client.get(server.url("/docs")) as response:
        page = await response.text()
        assert (response.status, response.content_type) == (200, "text/html")

    assert "http://" not in page
    assert "https://" not in page


def test_units_are_part_of_the_description():
    fields = describe(OPERATIONS)["components"]["schemas"]["Garch"]["properties"]

    assert fields["vol_mispricing"]["x-unit"] == "%"
    assert fields["current_iv"]["x-unit"] == "annual fraction"


async def test_answers_have_the_described_types(server):
    for path, kind in (("/api/tickers", Tickers), ("/api/health", Health), ("/api/analysis/NO1", Error)):
        async with server.client.get(server.url(path)) as response:
            msgspec.json.decode(await response.read(), type=kind)
    headers = {"Prefer": "respond-async"}
    async with server.client.post(server.url("/api/analyze"), json={"ticker": "A"}, headers=headers) as response:
        accepted = msgspec.json.decode(await response.read(), type=Accepted)
    async with server.client.get(server.url(f"/api/task/{accepted.task_id}")) as response:
        msgspec.json.decode(await response.read(), type=Processing | Completed)


def _no_defect_of_ours(_context, response, _case):
    """A deadline of 1e-48 ms is answered with 503 and a reason, as documented; any other 5xx is a defect."""
    assert response.status_code < 500 or response.status_code == 503


def test_no_request_that_can_be_made_from_the_description_breaks_it(tmp_path):
    """Schemathesis makes requests from the description, good and bad, and checks what comes back against it."""
    ready, done = threading.Event(), threading.Event()
    port = 0

    async def serve():
        nonlocal port
        async with running(tmp_path) as server:
            port = server.port
            ready.set()
            await asyncio.to_thread(done.wait)

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    try:
        assert ready.wait(10)
        # Fake analyses are not real ones: their form is checked where the engine is tested.
        description = describe(OPERATIONS)
        for name in ("Analysis",):
            description["components"]["schemas"][name] = {}
        schema = schemathesis.openapi.from_dict(description)
        schema.config.update(base_url=f"http://127.0.0.1:{port}")
        checks = [_no_defect_of_ours, status_code_conformance, content_type_conformance, response_schema_conformance]

        finite = schema.exclude(path="/api/task/{id}/events").exclude(path="/api/scan/events")
        for result in finite.get_all_operations():
            operation = result.ok()

            @settings(
                max_examples=15, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck), database=None
            )
            @given(operation.as_strategy())
            def one(case):
                case.call_and_validate(checks=checks)

            one()
    finally:
        done.set()
        thread.join()
