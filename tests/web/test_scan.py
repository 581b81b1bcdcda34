"""Scans and rankings in a browser: begin, follow, cancel, filter, sort, export, compare."""

import csv
import json
import re
from pathlib import Path

import pytest

expect = pytest.importorskip("playwright.sync_api", reason="playwright is not installed").expect

NAMES = ["AAPL", "MSFT", "SIM001", "SIM002", "SIM003"]
WATCHING = f"localStorage.setItem('bq.tickers', JSON.stringify({json.dumps(NAMES)}))"


def scan(page) -> None:
    """Scan the watchlist and wait until its ranking has been read."""
    page.get_by_label("What to scan").select_option("watchlist")
    with page.expect_response("**/api/rankings*") as answered:
        page.get_by_role("button", name="Start a scan").click()
    assert answered.value.json()["count"] == len(NAMES)
    expect(page.locator(".ranking tbody tr").first).to_be_visible()


def scanned(visit):
    """Give a visitor whose watchlist has been scanned."""
    seen = visit()
    seen.context.add_init_script(WATCHING)
    scan(seen.open("#/scan"))
    return seen


def test_a_server_that_never_scanned_says_so(visit):
    seen = visit()
    never = {"is_scanning": False, "state": "idle", "last_scan": None, "next_scan": None, "failed": 0}
    seen.page.route("**/api/scan/status", lambda route: route.fulfill(json=never))
    seen.page.route(
        "**/api/scan/events",
        lambda route: route.fulfill(content_type="text/event-stream", body=f"data: {json.dumps(never)}\n\n"),
    )
    page = seen.open("#/scan")

    expect(page.get_by_text("There is no ranking yet.")).to_be_visible()
    expect(page.get_by_role("button", name="Start a scan")).to_be_enabled()


def test_a_scan_is_begun_followed_ranked_filtered_and_exported(visit, tmp_path):
    seen = visit()
    seen.context.add_init_script(WATCHING)
    page = seen.open("#/scan")

    scan(page)
    expect(page.locator(".ranking tbody tr")).to_have_count(len(NAMES))
    answer = seen.context.request.get(f"{seen.server.url}/api/rankings?limit=1000").json()
    rows = answer["data"]
    cells = page.locator(".ranking tbody tr")
    assert cells.evaluate_all("(rows) => rows.map((row) => row.dataset.ticker)") == [row["ticker"] for row in rows]
    first = rows[0]
    expect(cells.first).to_contain_text(f"{first['score']:.1f}")
    expect(cells.first).to_contain_text(f"{first['score_low']:.0f}–{first['score_high']:.0f}")
    if first["rank_low"] != first["rank_high"]:
        expect(cells.first).to_contain_text(f"{first['rank_low']}–{first['rank_high']}")
    expect(cells.first).to_contain_text(f"${first['max_loss']:,.2f}")

    page.get_by_role("searchbox", name="Ticker or name").fill("sim00")
    expect(cells).to_have_count(3)
    page.get_by_role("button", name="Ticker").click()
    assert cells.evaluate_all("(rows) => rows.map((row) => row.dataset.ticker)") == ["SIM001", "SIM002", "SIM003"]
    expect(page.get_by_role("columnheader", name="Ticker")).to_have_attribute("aria-sort", "ascending")
    assert page.evaluate("location.hash") == "#/scan?text=sim00&sort=ticker"

    with page.expect_download() as download:
        page.get_by_role("button", name="Export as CSV").click()
    file = tmp_path / "ranking.csv"
    download.value.save_as(file)
    exported = list(csv.DictReader(Path(file).read_text(encoding="utf-8-sig").splitlines()))
    assert [row["ticker"] for row in exported] == ["SIM001", "SIM002", "SIM003"]
    by_ticker = {row["ticker"]: row for row in rows}
    assert all(float(row["score"]) == by_ticker[row["ticker"]]["score"] for row in exported)

    page.reload()
    expect(cells).to_have_count(3)
    page.get_by_role("searchbox", name="Ticker or name").fill("sim001")
    expect(cells).to_have_count(1)
    scan(page)
    expect(page.get_by_role("searchbox", name="Ticker or name")).to_have_value("sim001")
    assert cells.evaluate_all("(rows) => rows.map((row) => row.dataset.ticker)") == ["SIM001"]

    cells.first.get_by_role("link").click()
    expect(page.locator(".verdict")).to_be_visible()


def test_what_changed_since_the_scan_before_is_told(visit):
    """The sample market's data are of one moment: the scan before has to be made up."""
    seen = visit()
    seen.context.add_init_script(WATCHING)
    page = seen.open("#/scan")
    scan(page)
    expect(page.locator(".ranking")).to_contain_text("no earlier scan to compare with")

    def compare(route):
        answer = route.fetch()
        body = answer.json()
        body["previous"] = body["scan"] | {"finished_at": "2026-11-20T21:30:00+00:00"}
        points = {"price_match": -0.5, "vol_mispricing": 2.75}
        body["data"][0]["change"] = {"rank": 3, "score": 2.25, "recommendation": "NEUTRAL", "points": points}
        body["data"][1]["change"] = {"rank": -2, "score": -1.5, "recommendation": "AVOID", "points": None}
        route.fulfill(response=answer, body=json.dumps(body))

    seen.page.route("**/api/rankings*", compare)
    page.reload()
    rows = page.locator(".ranking tbody tr")
    expect(page.locator(".ranking")).to_contain_text("changes since Nov 20, 2026, 16:30 EST")
    expect(rows.nth(0)).to_contain_text(re.compile(r"\+2\.[23].*Implied against forecast volatility \+2\.[78]"))
    expect(rows.nth(1)).to_contain_text("−1.5")
    expect(rows.nth(2)).to_contain_text("new")


def test_a_scan_can_be_cancelled(visit):
    page = visit().open("#/scan")
    page.get_by_label("What to scan").select_option("all")
    page.get_by_role("button", name="Start a scan").click()
    expect(page.get_by_role("progressbar", name="Scan")).to_be_visible()

    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_text("the last one was cancelled")).to_be_visible()
    expect(page.get_by_role("button", name="Start a scan")).to_be_enabled()


def test_an_answer_older_than_what_the_events_told_is_not_shown(visit):
    seen = visit()
    page = seen.open("#/scan")
    page.get_by_label("What to scan").select_option("all")
    page.get_by_role("button", name="Start a scan").click()
    expect(page.get_by_role("progressbar", name="Scan")).to_be_visible()
    held = []
    page.route("**/api/scan/status", lambda route: held.append(route))

    with page.expect_request("**/api/scan/status"):
        page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_text("the last one was cancelled")).to_be_visible()
    while not held:
        page.wait_for_timeout(10)
    late = seen.context.request.get(f"{seen.server.url}/api/scan/status").json()
    late |= {"is_scanning": True, "state": "cancelling"}
    with page.expect_response("**/api/scan/status"):
        held[0].fulfill(json=late)
    page.wait_for_timeout(200)  # for the page to do what it should not
    expect(page.get_by_text("the last one was cancelled")).to_be_visible()
    expect(page.get_by_role("button", name="Start a scan")).to_be_enabled()


def answered(is_scanning: bool, state: str, last_scan: str | None, done: int) -> dict:
    """Make a status of a scan of ten."""
    return {
        "is_scanning": is_scanning, "state": state, "last_scan": last_scan, "next_scan": None, "failed": 0,
        "task_id": "0" * 32, "progress": 10 * done, "done": done, "total": 10,
    }  # fmt: skip


def tell(page, first: dict, *events: dict) -> None:
    """Have the page told one status when it asks, and others as events."""
    page.route("**/api/scan/status", lambda route: route.fulfill(json=first))
    body = "".join(f"data: {json.dumps(event)}\n\n" for event in events)
    page.route("**/api/scan/events", lambda route: route.fulfill(content_type="text/event-stream", body=body))


def test_a_ranking_that_was_overtaken_by_a_newer_one_is_not_shown(visit):
    seen = scanned(visit)
    page = seen.page
    ranking = seen.context.request.get(f"{seen.server.url}/api/rankings?limit=1000").json()
    before, after = "2026-11-24T21:30:00Z", "2026-11-25T21:30:00Z"
    tell(page, answered(True, "running", before, 9), answered(False, "completed", after, 10))
    held = []

    def first_is_slow(route):
        if held:
            route.fulfill(json=ranking)
        held.append(route)

    page.route("**/api/rankings*", first_is_slow)
    page.reload()
    expect(page.locator(".ranking tbody tr")).to_have_count(len(NAMES))
    with page.expect_response("**/api/rankings*"):
        held[0].fulfill(json=ranking | {"data": ranking["data"][:1]})
    page.wait_for_timeout(200)  # for the page to do what it should not
    expect(page.locator(".ranking tbody tr")).to_have_count(len(NAMES))


def test_a_ranking_is_read_when_a_server_that_has_just_begun_comes_to_know_of_it(visit):
    seen = scanned(visit)
    page = seen.page
    idle = answered(False, "idle", None, 0) | {"task_id": None}
    tell(page, idle, answered(False, "completed", "2026-11-25T21:30:00Z", 10))

    page.reload()
    expect(page.locator(".ranking tbody tr")).to_have_count(len(NAMES))


def test_who_types_a_filter_goes_on_typing_when_the_ranking_is_read_anew(visit):
    seen = scanned(visit)
    page = seen.page
    box = page.get_by_role("searchbox", name="Ticker or name")
    box.press_sequentially("sim")
    with page.expect_response("**/api/rankings*"):
        seen.context.request.post(f"{seen.server.url}/api/scan", data={"universe": NAMES})
        page.wait_for_timeout(50)
    page.keyboard.type("001")
    expect(box).to_have_value("sim001")


def test_the_scan_is_followed_again_after_a_server_that_was_not_ready(visit):
    seen = visit()
    not_ready = {"success": False, "error": "Not yet.", "code": "not_ready"}
    seen.page.route("**/api/scan/events", lambda route: route.fulfill(status=503, json=not_ready))
    with seen.page.expect_response(lambda response: "scan/events" in response.url and response.status == 503):
        page = seen.open("#/scan")

    page.unroute("**/api/scan/events")
    with page.expect_event("response", lambda response: "scan/events" in response.url and response.ok):
        pass  # of its own accord
    seen.errors[:] = [error for error in seen.errors if "503" not in error]


def test_a_second_scan_is_refused_in_words(visit):
    seen = visit()
    seen.page.route(
        "**/api/scan",
        lambda route: route.fulfill(
            status=409, json={"success": False, "error": "A scan of all is running.", "code": "conflict"}
        ),
    )
    page = seen.open("#/scan")
    page.get_by_role("button", name="Start a scan").click()

    expect(page.get_by_text("Something else is running. A scan of all is running.")).to_be_visible()
    seen.errors[:] = [error for error in seen.errors if "409" not in error and "404" not in error]
