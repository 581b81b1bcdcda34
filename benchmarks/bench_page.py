"""Weigh the page and time its first useful view: `python -m benchmarks.bench_page http://127.0.0.1:8000`.

The server must be running and have its answers cached (open the page once). Bytes are those on the wire. Times are
medians of loads in headless Chromium with an empty browser cache, on this machine's loopback: they say what the browser
does, not what a network adds.
"""

import shutil
import statistics
import sys
from typing import Any

from playwright.sync_api import Browser, sync_playwright

LOADS = 7
FIRST_CARD = ".card .chip"
VERDICT = ".verdict"
CHART = '[data-chart="payoff"][data-drawn]'


def load(browser: Browser, url: str, *milestones: str) -> tuple[dict[str, float], dict[str, int]]:
    """Load an address with nothing cached; give milliseconds to each milestone and bytes by kind."""
    context = browser.new_context()
    page = context.new_page()
    session = context.new_cdp_session(page)
    session.send("Network.enable")
    kinds: dict[str, str] = {}
    weights: dict[str, int] = {}

    def answered(event: Any) -> None:
        name = event["response"]["url"]
        kinds[event["requestId"]] = (
            "chart library" if "plotly" in name else "API" if "/api/" in name else "page, styles, modules"
        )

    def finished(event: Any) -> None:
        kind = kinds.get(event["requestId"], "page, styles, modules")
        weights[kind] = weights.get(kind, 0) + int(event["encodedDataLength"])

    session.on("Network.responseReceived", answered)
    session.on("Network.loadingFinished", finished)
    page.goto(url, wait_until="commit")
    times = {}
    for milestone in milestones:
        page.wait_for_selector(milestone, timeout=120_000)
        times[milestone] = page.evaluate("performance.now()")
    page.wait_for_load_state("networkidle")
    context.close()
    return times, weights


def main() -> None:
    """Print a line for each address and milestone."""
    base = sys.argv[1].rstrip("/")
    executable = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox", "--disable-gpu"])
        for address, milestones in (("#/watchlist", [FIRST_CARD]), ("#/analyze/AAPL", [VERDICT, CHART])):
            loads = [load(browser, f"{base}/{address}", *milestones) for _ in range(LOADS + 1)][1:]
            for milestone in milestones:
                times = sorted(times[milestone] for times, _ in loads)
                print(f"{address} {milestone}: {statistics.median(times):.0f} ms ({times[0]:.0f} to {times[-1]:.0f})")
            print(f"{address} bytes on the wire: {loads[-1][1]}")
        browser.close()


if __name__ == "__main__":
    main()
