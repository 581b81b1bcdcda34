"""Languages, themes, widths and keys: every view, for every reader."""

import re

import pytest

from tests.web.conftest import HERE

expect = pytest.importorskip("playwright.sync_api", reason="playwright is not installed").expect

VIEWS = {
    "watchlist": ("#/watchlist", ".card .chip"),
    "what-if": ("#/analyze/AAPL?quantity=2", ".whatif-result .own"),
    "no quotes": ("#/analyze/%5EGSPC", ".plot[data-drawn]"),
    "unknown": ("#/analyze/NOSUCH", "[role=alert]"),
    "scan": ("#/scan", ".ranking, .empty"),
}
PROBES = (HERE / "probes.js").read_text()


def probe(page, name: str) -> list[str]:
    return page.evaluate(f"{PROBES.strip()}.{name}()")


def spoken(language: str) -> str:
    return f"localStorage.setItem('bq.language', JSON.stringify('{language}'))"


def forgive_answers(seen) -> None:
    """A browser reports every 404 of a question that may have no answer yet."""
    seen.errors[:] = [error for error in seen.errors if not re.search(r"40[04]", error)]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_phone_shows_every_view_without_scrolling_sideways(visit, language):
    seen = visit(viewport={"width": 375, "height": 720}, has_touch=True, is_mobile=True)
    seen.context.add_init_script(spoken(language))
    for address, there in VIEWS.values():
        page = seen.open(address)
        expect(page.locator(there).first).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") == 375, address
        assert probe(page, "outside") == [], address
        assert probe(page, "clipped") == [], address
    forgive_answers(seen)


def test_the_language_is_the_browser_s_until_it_is_chosen(visit):
    seen = visit(locale="zh-CN")
    page = seen.open("#/analyze/AAPL")

    expect(page.locator("html")).to_have_attribute("lang", "zh-CN")
    expect(page.locator(".payoff-row h2").first).to_have_text("损益图与到期价分布")
    expect(page.locator('[data-chart="fan"][data-drawn]')).to_be_visible()
    assert "预测" in page.evaluate("document.querySelector('[data-chart=fan]').data.map((trace) => trace.name)")
    text = page.locator("body").inner_text()
    assert not re.search(r"undefined|\bNaN\b|\bnull\b|\{\w+\}", text)

    page.get_by_role("button", name="English").click()
    expect(page.locator("html")).to_have_attribute("lang", "en")
    expect(page.locator(".payoff-row h2").first).to_have_text("Payoff, and where the price may end")
    page.reload()
    expect(page.locator("html")).to_have_attribute("lang", "en")


@pytest.mark.parametrize("language", ["en", "zh"])
def test_no_text_is_left_in_the_other_language(visit, language):
    seen = visit()
    seen.context.add_init_script(spoken(language))
    page = seen.open("#/analyze/AAPL")
    expect(page.locator('[data-chart="spectrum"][data-drawn]')).to_be_visible()
    text = page.locator("main").inner_text()

    if language == "en":
        assert not re.search(r"[\u4e00-\u9fff]", text)
    else:
        words = set(re.findall(r"[A-Za-z]{3,}", re.sub(r"[A-Z]+\d{6}[CP]\d{8}|data \w+|[0-9a-f]{16}", "", text)))
        names = {"AAPL", "Apple", "Inc", "GARCH", "ARIMA", "EST", "EDT", "Delta", "Gamma", "Vega", "Theta"}
        assert words - names == set()


@pytest.mark.slow
def test_a_chosen_theme_is_kept_and_the_charts_follow(visit):
    page = visit(color_scheme="light").open("#/analyze/AAPL")
    expect(page.locator('[data-chart="payoff"][data-drawn]')).to_be_visible()
    background = "getComputedStyle(document.documentElement).backgroundColor"
    font = "document.querySelector('[data-chart=payoff]').layout.font.color"
    light = page.evaluate(background), page.evaluate(font)

    page.get_by_role("button", name="Colours: as the system").click()
    page.get_by_role("button", name="Colours: light").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    expect(page.locator("html")).to_have_css("background-color", "rgb(13, 17, 23)")
    page.locator('[data-chart="payoff"]').evaluate(
        """(plot) => new Promise((resolve) => plot.layout.font.color === "rgb(230, 235, 241)" ? resolve()
             : plot.on("plotly_afterplot", () => plot.layout.font.color === "rgb(230, 235, 241)" && resolve()))"""
    )
    dark = page.evaluate(background), page.evaluate(font)
    assert light[0] != dark[0]
    assert light[1] != dark[1]

    page.reload()
    assert page.evaluate(background) == dark[0]


@pytest.mark.slow
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_stands_out_from_its_background(visit, theme):
    """WCAG 2.2, 1.4.3: 4.5 to 1."""
    seen = visit(color_scheme=theme)
    page = seen.open("#/analyze/TSLA")
    expect(page.locator('[data-chart="spectrum"][data-drawn]')).to_be_visible()
    assert probe(page, "faint") == []
    page.get_by_role("link", name="Watchlist").click()
    expect(page.locator(".card .chip")).to_have_count(9)
    assert probe(page, "faint") == []


def test_the_keyboard_reaches_everything(visit):
    page = visit().open("#/watchlist")
    expect(page.locator(".card .chip")).to_have_count(9)

    page.keyboard.press("/")
    expect(page.get_by_role("searchbox", name="Analyze a ticker")).to_be_focused()
    page.keyboard.type("msft")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("MSFT")
    assert page.title() == "MSFT · ButterQuant"
    expect(page.locator(".whatif")).to_be_visible()

    higher = page.get_by_role("button", name="Lower strike: one higher")
    higher.focus()
    page.keyboard.press("Enter")
    expect(page.locator('.whatif-result [data-figure="whatif.cost"]')).to_be_visible()
    expect(page.get_by_role("button", name="Lower strike: one higher")).to_be_focused()

    page.go_back()
    expect(page.locator(".card .chip")).to_have_count(9)


def test_every_control_has_a_name_and_every_view_one_heading(visit):
    seen = visit()
    for name in ("watchlist", "what-if", "scan"):
        address, there = VIEWS[name]
        page = seen.open(address)
        expect(page.locator(there).first).to_be_visible()
        expect(page.locator("h1")).to_have_count(1)
        assert probe(page, "nameless") == [], name
        assert probe(page, "misnamed") == [], name
    forgive_answers(seen)


def test_a_page_of_an_older_version_says_so(visit):
    seen = visit()
    seen.page.route("**/views/analyzer.js", lambda route: route.fulfill(status=404, body=""))
    page = seen.open("#/watchlist")
    expect(page.locator(".card .chip")).to_have_count(9)
    page.get_by_role("link", name="AAPL").click()

    expect(page.get_by_role("alert")).to_contain_text("The server has a newer version of this page.")
    seen.page.unroute("**/views/analyzer.js")
    page.get_by_role("button", name="Load it").click()
    expect(page.locator(".verdict")).to_be_visible()
    forgive_answers(seen)
