"""The analyzer in a browser: figures and charts are those of the API, and what-if follows."""

import json
import re

import pytest

expect = pytest.importorskip("playwright.sync_api", reason="playwright is not installed").expect

CHARTS = ("payoff", "fan", "volatility", "smile", "term", "spectrum")
DATA = """(name) => document.querySelector(`[data-chart="${name}"]`).data.map((trace) => ({
  name: trace.name, x: [...trace.x], y: [...trace.y], up: trace.error_y?.array && [...trace.error_y.array],
  down: trace.error_y?.arrayminus && [...trace.error_y.arrayminus],
}))"""


def drawn(page, *names: str) -> dict[str, list[dict]]:
    """Wait for charts, and give the traces of each by its name."""
    for name in names:
        expect(page.locator(f'[data-chart="{name}"][data-drawn]')).to_be_visible()
    return {name: page.evaluate(DATA, name) for name in names}


def analysis_of(seen, ticker: str) -> dict:
    answer = seen.context.request.post(f"{seen.server.url}/api/analyze", data={"tickers": [ticker], "detail": "full"})
    return answer.json()["data"][0]["data"]


def trace(traces: list[dict], name: str) -> dict:
    (found,) = [one for one in traces if one["name"] == name]
    return found


def check_charts(page, a: dict) -> None:
    """Compare what is drawn with the answer."""
    x = a["extended"]
    charts = drawn(page, *CHARTS)
    payoff = charts["payoff"]
    assert trace(payoff, "Today") | {"name": ""} == {
        "name": "", "x": x["payoff"]["spot"], "y": x["payoff"]["today"], "up": None, "down": None,
    }  # fmt: skip
    expiry = trace(payoff, "At expiry")
    assert set(zip(x["payoff"]["spot"], x["payoff"]["at_expiry"], strict=True)) <= set(
        zip(expiry["x"], expiry["y"], strict=True)
    )
    for name, key in (("Market", "market"), ("Forecast", "forecast"), ("History", "empirical")):
        if x["density"][key] is not None:
            assert (trace(payoff, name)["x"], trace(payoff, name)["y"]) == (x["density"]["x"], x["density"][key])
    points = a["chart_data"]["price_forecast"]
    past = [point["actual"] for point in points if point["actual"] is not None]
    fan = charts["fan"]
    assert trace(fan, "Price")["y"] == past
    assert [day[5:].replace("-", "/") for day in trace(fan, "Price")["x"]] == [p["date"] for p in points[: len(past)]]
    assert trace(fan, "Forecast")["y"][1:] == [point["forecast"] for point in points[len(past) :]]
    assert trace(fan, "95 % band")["y"][1:] == [point["upper"] for point in points[len(past) :]]
    volatility = charts["volatility"]
    assert trace(volatility, "Realised, 21 sessions")["y"] == [p["realized"] for p in a["chart_data"]["volatility"]]
    assert trace(volatility, "Forecast")["y"][1:] == a["garch"]["forecast_vol"]
    assert trace(volatility, "Implied")["y"] == [a["garch"]["current_iv"]] * 2
    traded = next(one for one in x["chain"] if one["expiry"] == x["legs"][0]["expiry"])
    quotes, smile = traded["quotes"], trace(charts["smile"], "Bid to ask")
    assert smile["x"] == [quote["strike"] for quote in quotes]
    assert smile["y"] == [quote["iv_mid"] for quote in quotes]
    with_ask = [i for i, quote in enumerate(quotes) if quote["iv_ask"] is not None]
    assert [smile["y"][i] + smile["up"][i] for i in with_ask] == pytest.approx([quotes[i]["iv_ask"] for i in with_ask])
    assert trace(charts["smile"], "Fit")["y"] == [quote["iv_fit"] for quote in quotes]
    assert trace(charts["term"], "Implied")["y"] == [point["implied"] for point in x["term_structure"]]
    assert trace(charts["term"], "Forecast")["y"] == [point["forecast"] for point in x["term_structure"]]
    spectrum = charts["spectrum"]
    assert trace(spectrum, "Noise, 95 %")["y"] == x["cycles"]["noise_95"]
    assert trace(spectrum, "Noise, 99 %")["y"] == x["cycles"]["noise_99"]
    assert [100 * y for y in trace(spectrum, "Returns")["y"]] == pytest.approx(
        [point["powerPct"] for point in a["chart_data"]["spectrum"]]
    )


def test_the_verdict_comes_first_and_every_figure_is_the_api_s(visit):
    seen = visit()
    page = seen.open("#/analyze/AAPL")
    a = analysis_of(seen, "AAPL")
    b, risk = a["butterfly"], a["extended"]["risk"]

    verdict = page.locator(".verdict")
    expect(verdict).to_contain_text({"BUY": "Buy", "WATCH": "Watch", "AVOID": "Avoid"}[a["trade_suggestion"]["action"]])
    expect(verdict).to_contain_text(f"score {a['score']['total']:.0f} of 100")
    ticket = page.locator(".ticket")
    for figure in (b["net_debit"], b["max_profit"], b["max_loss"], b["breakeven_lower"], b["breakeven_upper"]):
        expect(ticket).to_contain_text(f"${figure:,.2f}")
    probabilities = page.locator(".probabilities")
    for name in ("pop_market", "pop_forecast", "pop_empirical"):
        expect(probabilities).to_contain_text(f"{100 * risk[name]['value']:.1f} %")
    for leg in a["extended"]["legs"]:
        row = page.locator("tr", has_text=leg["occ_symbol"])
        expect(row).to_contain_text(f"{'Buy' if leg['quantity'] > 0 else 'Sell'} {abs(leg['quantity'])}")
        expect(row).to_contain_text(f"${leg['bid']:.2f}")
        expect(row).to_contain_text(f"{leg['greeks']['delta']:+.3f}".replace("-", "−"))
    expect(page.locator(".heading")).to_contain_text(
        re.compile(r"as of \w+ \d+, \d{4}, \d\d:\d\d E[SD]T · sample market")
    )
    expect(page.locator(".score")).to_contain_text(f"Score {a['score']['total']:.1f} of 100")
    expect(page.locator(".quality")).to_contain_text(f"data {a['extended']['quality']['grade']}")


def test_a_position_that_earns_all_the_way_up_has_no_upper_break_even(visit):
    """A broken wing that is opened for a credit."""
    seen = visit()
    page = seen.open("#/analyze/SIM002")
    b = analysis_of(seen, "SIM002")["butterfly"]
    assert b["breakeven_upper"] == 0.0 < b["breakeven_lower"]

    expect(page.locator(".ticket")).to_contain_text(f"${b['breakeven_lower']:,.2f} – –")
    expect(page.locator('[data-chart-frame="payoff"]')).not_to_contain_text("$0.00.")
    check_charts(page, analysis_of(seen, "SIM002"))


def test_every_chart_is_drawn_from_the_answer_and_says_what_it_shows(visit):
    seen = visit()
    page = seen.open("#/analyze/AAPL")

    check_charts(page, analysis_of(seen, "AAPL"))
    for name in CHARTS:
        frame = page.locator(f'[data-chart-frame="{name}"]')
        assert frame.locator('[role="img"]').get_attribute("aria-label") == frame.locator(".summary").inner_text()
        frame.get_by_text("Figures as a table").click()
        expect(frame.locator("tbody tr").first).to_be_visible()


@pytest.mark.slow
@pytest.mark.parametrize("ticker", ["SPY", "QQQ", "MSFT"])
def test_every_chart_is_drawn_from_real_chains(visit, serve, data_dir, ticker):
    seen = visit(serve(f"files:{data_dir / 'market'}"))
    page = seen.open(f"#/analyze/{ticker}")

    check_charts(page, analysis_of(seen, ticker))
    expect(page.locator(".banner")).to_have_count(0)
    expect(page.locator(".heading")).to_contain_text("files")


def test_a_name_without_quotes_says_so_and_draws_what_there_is(visit):
    page = visit().open("#/analyze/%5EGSPC")

    expect(page.locator(".verdict")).to_contain_text("There are no usable option quotes")
    expect(page.locator(".heading")).to_contain_text("no chain")
    drawn(page, "payoff", "fan", "volatility", "spectrum")
    expect(page.locator('[data-chart="smile"]')).to_have_count(0)


def money(value: float, signed: bool = False) -> str:
    sign = "−" if value < 0 else "+" if signed and value > 0 else ""
    return f"{sign}${abs(value):,.2f}"


def check_what_if(seen, page, legs: list[dict]) -> dict:
    """Compare the panel with the API's own answer for the same legs."""
    expect(page.locator(".whatif")).not_to_have_attribute("aria-busy", "true")
    answer = seen.context.request.post(f"{seen.server.url}/api/what-if", data={"ticker": "AAPL", "legs": legs}).json()
    found, shown = answer["data"], page.locator(".whatif-result")
    risk = found["risk"]

    def own(key):
        return shown.locator(f'[data-figure="{key}"] .own')

    expect(own("whatif.cost")).to_have_text(money(found["cost"], signed=True))
    expect(own("figure.maxProfit")).to_have_text(money(found["max_profit"]))
    expect(own("figure.maxLoss")).to_have_text(money(found["max_loss"]))
    expect(own("figure.breakevens")).to_have_text(" – ".join(money(price) for price in found["breakevens"]) or "–")
    for name in ("market", "forecast", "empirical"):
        expect(own(f"whatif.pop.{name}")).to_have_text(f"{100 * risk[f'pop_{name}']['value']:.1f} %")
        expect(own(f"whatif.ev.{name}")).to_have_text(money(risk[f"ev_{name}"], signed=True))
    expect(own("probability.cvar")).to_have_text(money(risk["cvar_95"], signed=True))
    for name, places in (("delta", 3), ("gamma", 4), ("vega", 3), ("theta", 3)):
        expect(own(f"greek.{name}")).to_have_text(f"{found['greeks'][name]:+.{places}f}".replace("-", "−"))
    yours = trace(drawn(page, "payoff")["payoff"], "Yours at expiry")
    assert (yours["x"], yours["y"]) == (found["payoff"]["spot"], found["payoff"]["at_expiry"])
    return found


def test_what_if_follows_every_move_with_the_api_s_arithmetic_and_can_be_shared(visit):
    seen = visit()
    page = seen.open("#/analyze/AAPL")
    a = analysis_of(seen, "AAPL")
    lower, center, upper = (a["butterfly"][f"{name}_strike"] for name in ("lower", "center", "upper"))
    expiry = a["extended"]["legs"][0]["expiry"]
    listed = [q["strike"] for one in a["extended"]["chain"] if one["expiry"] == expiry for q in one["quotes"]]
    drawn(page, "payoff")
    whatif = page.locator(".whatif")

    form = "PUT" if a["fourier"]["butterfly_type"] == "CALL" else "CALL"
    whatif.get_by_label("Form").select_option(form)
    legs = [
        {"type": form.lower(), "strike": strike, "expiry": expiry, "quantity": quantity}
        for strike, quantity in ((lower, 1), (center, -2), (upper, 1))
    ]
    check_what_if(seen, page, legs)

    whatif.get_by_role("button", name="Upper strike: one higher").click()
    legs[2]["strike"] = listed[listed.index(upper) + 1]
    check_what_if(seen, page, legs)

    whatif.get_by_label("Quantity").fill("3")
    whatif.get_by_label("Quantity").press("Enter")
    for leg in legs:
        leg["quantity"] *= 3
    found = check_what_if(seen, page, legs)
    assert found["cost"] > 0

    page.reload()
    drawn(page, "payoff")
    check_what_if(seen, page, legs)
    expect(whatif.get_by_label("Quantity")).to_have_value("3")

    whatif.get_by_role("button", name="Back to the proposal").click()
    expect(page.locator(".whatif-result")).to_be_empty()
    assert page.evaluate("location.hash") == "#/analyze/AAPL"


def test_another_expiry_takes_the_strikes_to_the_nearest_listed_there(visit):
    seen = visit()
    page = seen.open("#/analyze/AAPL")
    a = analysis_of(seen, "AAPL")
    other = a["extended"]["chain"][-1]
    page.locator(".whatif").get_by_label("Expiry").select_option(other["expiry"])
    expect(page.locator('.whatif-result [data-figure="whatif.cost"]')).to_be_visible()

    strikes = [
        float(text)
        for text in page.evaluate("new URLSearchParams(location.hash.split('?')[1]).get('strikes')").split(",")
    ]
    assert set(strikes) <= {quote["strike"] for quote in other["quotes"]}


def test_a_position_that_cannot_be_priced_is_refused_in_words(visit):
    seen = visit()
    page = seen.open("#/analyze/AAPL?expiry=2031-01-17&form=CALL&strikes=1,2,3&quantity=1")

    expect(page.locator(".whatif-result [role=alert]")).to_contain_text("AAPL:")
    drawn(page, "payoff")
    seen.errors[:] = [error for error in seen.errors if "400" not in error]


def test_an_unknown_ticker_is_told_with_what_to_do(visit):
    page = visit().open("#/analyze/NOSUCH")

    expect(page.get_by_role("alert")).to_contain_text("No such ticker")
    expect(page.get_by_role("alert")).to_contain_text("Check the spelling")
    page.goto(page.url.split("#")[0] + "#/analyze/not!a!ticker")
    expect(page.locator("main")).to_contain_text("is not a ticker")


def test_a_server_that_is_starting_is_asked_again(visit):
    seen = visit()
    times = []

    def starting_once(route):
        times.append(1)
        if len(times) > 1:
            route.continue_()
            return
        body = {"success": False, "error": "Kernels are being compiled.", "code": "not_ready"}
        route.fulfill(status=503, json=body, headers={"Retry-After": "1"})

    seen.page.route("**/api/analyze", starting_once)
    page = seen.open("#/analyze/AAPL")

    expect(page.get_by_role("alert")).to_contain_text("The server is starting.")
    expect(page.locator(".verdict")).to_be_visible()
    assert len(seen.errors) == 1
    assert "503" in seen.errors.pop()


def test_old_data_are_told_in_a_banner(visit):
    seen = visit()

    def grow_old(route):
        answer = route.fetch()
        body = answer.json()
        body["data"][0] |= {"stale": True, "as_of": 1_790_000_000}
        route.fulfill(response=answer, body=json.dumps(body))

    seen.page.route("**/api/analyze", grow_old)
    page = seen.open("#/analyze/AAPL")

    expect(page.locator(".banner.trouble")).to_contain_text(
        "These figures are old: their data are of Sep 21, 2026, 10:13 EDT"
    )
    page.unroute("**/api/analyze")
    page.get_by_role("link", name="Watchlist").click()
    expect(page.locator(".banner.trouble")).to_have_count(0)


def test_everything_but_the_charts_is_there_without_the_chart_library(visit):
    seen = visit()
    seen.page.route("**/plotly.min.js", lambda route: route.abort())
    page = seen.open("#/analyze/AAPL")

    expect(page.locator(".verdict")).to_be_visible()
    expect(page.locator(".ticket")).to_contain_text("$")
    expect(page.get_by_text("The chart library could not be loaded.").first).to_be_visible()
    seen.page.unroute("**/plotly.min.js")
    page.locator('[data-chart-frame="payoff"]').get_by_role("button", name="Try now").click()
    drawn(page, "payoff")
    assert all("ERR_FAILED" in error for error in seen.errors)
    seen.errors.clear()


def test_an_analysis_that_is_loaded_anew_keeps_what_the_reader_made_of_it(visit):
    seen = visit()
    page = seen.open("#/analyze/AAPL?quantity=4")
    whatif = page.locator(".whatif")
    expect(whatif.get_by_label("Quantity")).to_have_value("4")
    whatif.get_by_label("Quantity").fill("7")
    whatif.get_by_label("Quantity").press("Enter")
    expect(page.locator(".whatif-result")).to_contain_text("7")
    address = page.evaluate("location.hash")

    page.get_by_role("button", name="Refresh").click()
    drawn(page, "payoff")
    expect(whatif.get_by_label("Quantity")).to_have_value("7")
    assert page.evaluate("location.hash") == address

    whatif.get_by_role("button", name="Back to the proposal").click()
    page.get_by_role("button", name="Refresh").click()
    drawn(page, "payoff")
    expect(whatif.get_by_label("Quantity")).to_have_value("1")
    assert page.evaluate("location.hash") == "#/analyze/AAPL"


def test_back_to_the_proposal_while_an_answer_is_on_its_way_waits_for_nothing(visit):
    seen = visit()
    held = []
    seen.page.route("**/api/what-if", lambda route: held.append(route))
    page = seen.open("#/analyze/AAPL?quantity=4")
    expect(page.locator(".whatif")).to_have_attribute("aria-busy", "true")

    page.locator(".whatif").get_by_role("button", name="Back to the proposal").click()
    expect(page.locator(".whatif")).not_to_have_attribute("aria-busy", "true")
    expect(page.locator(".whatif-result")).to_be_empty()


def test_a_question_asked_twice_is_answered_once_and_a_late_answer_is_not_shown(visit):
    seen = visit()
    busy = {"success": False, "error": "Too much is waiting.", "code": "too_busy"}
    seen.page.route("**/api/what-if", lambda route: route.fulfill(status=503, json=busy))
    page = seen.open("#/analyze/AAPL?quantity=4")
    again = page.locator(".whatif-result").get_by_role("button", name="Try now")
    expect(again).to_be_visible()
    page.unroute("**/api/what-if")
    held = []
    page.route("**/api/what-if", lambda route: held.append(route))
    given_up = []
    page.on("requestfailed", lambda request: given_up.append(request))

    again.dblclick()
    page.locator(".whatif").get_by_label("Quantity").fill("2")
    page.locator(".whatif").get_by_label("Quantity").press("Enter")
    with page.expect_request("**/api/what-if"):
        pass
    expect(page.locator(".whatif")).to_have_attribute("aria-busy", "true")
    assert [route.request for route in held[:2]] == given_up
    seen.errors[:] = [error for error in seen.errors if "503" not in error]


def test_figures_that_are_open_follow_the_chart(visit):
    seen = visit()
    page = seen.open("#/analyze/AAPL")
    last = analysis_of(seen, "AAPL")["extended"]["chain"][-1]
    drawn(page, "smile")
    frame = page.locator('[data-chart-frame="smile"]')
    frame.get_by_text("Figures as a table").click()
    expect(frame.locator("tbody tr").first).to_be_visible()

    frame.get_by_label("Expiry").select_option(last["expiry"])
    expect(frame.locator("tbody tr")).to_have_count(len(last["quotes"]))
    first = f"{last['quotes'][0]['strike']:,.2f}".rstrip("0").rstrip(".")
    expect(frame.locator("tbody tr").first).to_contain_text(first)
