"""The watchlist in a browser: a list in, cards out, whatever goes wrong on the way."""

import json
import re

import pytest

expect = pytest.importorskip("playwright.sync_api", reason="playwright is not installed").expect

KEPT = "Object.fromEntries(Object.entries(localStorage))"


def watching(*tickers: str) -> str:
    return f"localStorage.setItem('bq.tickers', JSON.stringify({json.dumps(tickers)}))"


def paste(page, text: str) -> None:
    box = page.get_by_role("textbox", name="Tickers to add")
    box.fill(text)
    box.press("Enter")


def card(page, ticker: str):
    return page.locator(f'.card[data-ticker="{ticker}"]')


def test_a_first_visit_shows_the_server_s_suggestions(visit):
    page = visit().open()

    expect(page.locator(".card .chip")).to_have_count(9)
    expect(page.locator(".counts")).to_contain_text("9 tickers")
    expect(card(page, "AAPL")).to_contain_text("Apple Inc.")
    expect(page.locator(".banner")).to_contain_text("simulated")
    expect(page.locator("footer")).to_contain_text("None of this is investment advice")


def test_a_pasted_list_becomes_cards_and_a_bad_ticker_holds_nobody_up(visit):
    seen = visit()
    seen.context.add_init_script("if (!localStorage.length) " + watching("AAPL"))
    page = seen.open()
    expect(card(page, "AAPL").locator(".chip")).to_be_visible()

    paste(page, "sim001, SIM002;NOSUCH\n$SIM003  sim001 not!a!ticker AAPL")

    for ticker in ("SIM001", "SIM002", "SIM003"):
        expect(card(page, ticker).locator(".chip")).to_be_visible()
        expect(card(page, ticker)).to_contain_text(re.compile(r"\$\d"))
    expect(card(page, "NOSUCH")).to_contain_text("No such ticker")
    expect(card(page, "NOSUCH")).to_contain_text("Check the spelling")
    expect(page.locator(".counts")).to_contain_text("5 tickers")
    expect(page.locator(".counts")).to_contain_text("1 without an answer")
    expect(page.get_by_text("4 tickers added. 1 was there already. Not a ticker: not!a!ticker")).to_be_visible()

    card(page, "NOSUCH").get_by_role("button", name="Remove NOSUCH").click()
    expect(page.locator(".card")).to_have_count(4)
    page.reload()
    expect(page.locator(".card .chip")).to_have_count(4)
    assert json.loads(page.evaluate(KEPT)["bq.tickers"]) == ["SIM001", "SIM002", "SIM003", "AAPL"]


def test_the_browser_keeps_tickers_and_preferences_and_no_analysis(visit):
    page = visit().open()
    expect(page.locator(".card .chip")).to_have_count(9)
    paste(page, "SIM004")
    page.get_by_label("Sort by").select_option("score")
    expect(card(page, "SIM004").locator(".chip")).to_be_visible()
    kept = page.evaluate(KEPT)

    assert set(kept) == {"bq.tickers", "bq.sort"}
    assert sum(map(len, kept.values())) < 300


def test_cards_are_sorted_by_what_the_analyses_say(visit):
    seen = visit()
    page = seen.open()
    expect(page.locator(".card .chip")).to_have_count(9)
    names = "[...document.querySelectorAll('.card')].map((one) => one.dataset.ticker)"
    answer = seen.context.request.post(
        f"{seen.server.url}/api/analyze", data={"tickers": page.evaluate(names), "detail": "summary"}
    ).json()
    scores = {item["ticker"]: item["data"]["score"]["total"] for item in answer["data"]}

    page.get_by_label("Sort by").select_option("score")
    assert page.evaluate(names) == sorted(scores, key=scores.__getitem__, reverse=True)
    page.get_by_label("Sort by").select_option("ticker")
    assert page.evaluate(names) == sorted(scores)


def test_an_answer_that_breaks_off_is_completed_by_asking_for_the_rest(visit):
    seen = visit()
    seen.context.add_init_script(watching("SIM005", "SIM006", "SIM007"))
    asked = []

    def break_off(route):
        asked.append(route.request.post_data_json["tickers"])
        if len(asked) > 1:
            route.continue_()
            return
        answer = route.fetch()
        first, rest = answer.text().split("\n", 1)
        route.fulfill(response=answer, body=f"{first}\n{rest[:200]}")

    seen.page.route("**/api/analyze", break_off)
    page = seen.open()

    expect(page.locator(".card .chip")).to_have_count(3)
    expect(page.get_by_text("The server cannot be reached.")).to_have_count(0)
    assert len(asked) == 2
    assert set(asked[1]) < set(asked[0])
    assert len(asked[1]) == 2


def test_a_busy_server_is_asked_again_when_it_said_so(visit):
    seen = visit()
    seen.context.add_init_script(watching("SIM005"))
    times = []

    def busy_once(route):
        times.append(1)
        if len(times) > 1:
            route.continue_()
            return
        body = {"success": False, "error": "Too much is waiting.", "code": "too_busy"}
        route.fulfill(status=503, json=body, headers={"Retry-After": "1"})

    seen.page.route("**/api/analyze", busy_once)
    page = seen.open()

    expect(page.get_by_text("The server is too busy.")).to_be_visible()
    expect(card(page, "SIM005").locator(".chip")).to_be_visible()
    expect(page.get_by_text("The server is too busy.")).to_have_count(0)
    assert len(seen.errors) == 1
    assert "503" in seen.errors.pop()


@pytest.fixture
def restarted(server):
    """Give what starts the server again; it runs for the next test, whatever comes of this one."""
    yield server.start
    if not server.is_running:
        server.start()


@pytest.mark.slow
def test_a_restart_of_the_server_is_survived(visit, restarted):
    """What is known stays; what is asked for meanwhile comes when the server is back, without anybody's help."""
    seen = visit()
    seen.context.add_init_script("if (!localStorage.length) " + watching("AAPL"))
    page = seen.open()
    expect(card(page, "AAPL").locator(".chip")).to_be_visible()

    seen.server.stop()
    paste(page, "SIM008 SIM009")
    expect(page.get_by_text("The server cannot be reached.")).to_be_visible()
    expect(card(page, "AAPL").locator(".chip")).to_be_visible()
    expect(card(page, "SIM008")).to_have_attribute("aria-busy", "true")
    restarted()

    expect(card(page, "SIM008").locator(".chip")).to_be_visible()
    expect(card(page, "SIM009").locator(".chip")).to_be_visible()
    expect(page.get_by_text("The server cannot be reached.")).to_have_count(0)
    assert [e for e in seen.errors if "ERR_CONNECTION_REFUSED" not in e and "503" not in e] == []  # gone, starting
    seen.errors.clear()


def test_it_is_refreshed_while_it_is_looked_at_and_not_otherwise(visit):
    seen = visit()
    seen.context.add_init_script(watching("SIM005"))
    seen.page.clock.install()
    asked = []
    seen.page.on("request", lambda request: asked.append(request) if request.url.endswith("/api/analyze") else None)
    page = seen.open()
    expect(card(page, "SIM005").locator(".chip")).to_be_visible()
    assert len(asked) == 1

    page.clock.run_for(40_000)
    assert len(asked) == 1
    with page.expect_response("**/api/analyze"):
        page.clock.run_for(30_000)
    assert len(asked) == 2

    page.evaluate("Object.defineProperty(document, 'visibilityState', { value: 'hidden', configurable: true })")
    page.clock.run_for(300_000)
    assert len(asked) == 2
    page.evaluate("Object.defineProperty(document, 'visibilityState', { value: 'visible', configurable: true })")
    with page.expect_response("**/api/analyze"):
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    assert len(asked) == 3


def test_the_chart_library_is_not_asked_for_by_the_watchlist(visit):
    seen = visit()
    page = seen.open()
    expect(page.locator(".card .chip")).to_have_count(9)

    assert [url for url in seen.requests if "plotly" in url or "/charts/" in url] == []


def test_a_ticker_added_while_the_suggestions_are_on_their_way_stays(visit):
    seen = visit()
    held = []
    seen.page.route("**/api/tickers", lambda route: held.append(route))
    page = seen.open()
    paste(page, "SIM004")
    expect(card(page, "SIM004").locator(".chip")).to_be_visible()

    with page.expect_response("**/api/tickers"):
        held[0].continue_()
    paste(page, "SIM005")
    expect(card(page, "SIM005").locator(".chip")).to_be_visible()
    expect(card(page, "SIM004").locator(".chip")).to_be_visible()
    assert json.loads(page.evaluate(KEPT)["bq.tickers"]) == ["SIM005", "SIM004"]


def test_two_windows_do_not_undo_each_other_s_changes(visit):
    seen = visit()
    seen.context.add_init_script("if (!localStorage.length) " + watching("SIM001", "SIM002"))
    page = seen.open()
    expect(page.locator(".card .chip")).to_have_count(2)
    other = seen.context.new_page()
    other.goto(page.url)
    expect(other.locator(".card .chip")).to_have_count(2)

    paste(page, "SIM003")
    expect(card(other, "SIM003").locator(".chip")).to_be_visible()
    card(other, "SIM001").get_by_role("button", name="Remove SIM001").click()
    expect(page.locator(".card")).to_have_count(2)
    paste(page, "SIM004")
    expect(card(other, "SIM004").locator(".chip")).to_be_visible()
    assert json.loads(other.evaluate(KEPT)["bq.tickers"]) == ["SIM004", "SIM003", "SIM002"]


def test_a_stream_of_something_else_is_told_and_asked_for_again(visit):
    """As from a network that answers with its own page until one has logged in."""
    seen = visit()
    seen.context.add_init_script(watching("SIM005"))
    page_of_another = {"content_type": "text/html", "body": "<html>\nPlease log in\n</html>\n"}
    seen.page.route("**/api/analyze", lambda route: route.fulfill(**page_of_another))
    page = seen.open()

    expect(page.get_by_text("Something other than the server answered")).to_be_visible()
    page.unroute("**/api/analyze")
    expect(card(page, "SIM005").locator(".chip")).to_be_visible()
