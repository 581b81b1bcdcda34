"""Load for a running server, with locust.

    locust -f benchmarks/locustfile.py --headless -u 200 -r 50 -t 30s --host http://127.0.0.1:8000

The tags pick a mix: `--tags hot` (one stored ticker), `zipf` (few asked often), `list` (twenty at a time), `cold` (each
request forces work: another detail of another ticker; after 1,500 of them all is stored, so start the server anew for
the next run), `health` (what a bare route costs). `make load` without a mix leaves `cold` out. Locust's own CPU time
hides a fast server's limits; `benchmarks/loadgen.py` is the finer instrument.
"""

import itertools
import os
import random
import sys
import time
import urllib.request
from typing import Any

from locust import FastHttpUser, constant, events, tag, task

TICKERS = os.environ.get("BQ_LOAD_TICKERS", ",".join(["AAPL", *(f"SIM{i:03d}" for i in range(1, 500))])).split(",")
WEIGHTS = [1.0 / (rank + 1) for rank in range(len(TICKERS))]
COLD = itertools.cycle([(ticker, detail) for detail in ("summary", "default", "full") for ticker in TICKERS])
READY_WITHIN_S = float(os.environ.get("BQ_LOAD_READY_S", "300"))  # a server that was just started may compile first


@events.init.add_listener  # the run has not begun: its time does not count yet
def wait_until_ready(environment: Any, **_: object) -> None:
    """Load nothing but a server that is ready: it refuses everything before, fast, and the table would tell of that."""
    address, until = f"{environment.host.rstrip('/')}/readyz", time.monotonic() + READY_WITHIN_S
    while True:
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except OSError as error:  # 503 as well
            if time.monotonic() > until:
                sys.exit(f"{address} does not say that the server is ready ({error}). Is it running?")
        time.sleep(0.5)


class Client(FastHttpUser):
    """A client that asks again as soon as it was answered."""

    wait_time = constant(0)

    def ask(self, body: dict[str, object], name: str) -> None:
        with self.client.post("/api/analyze", json=body, name=name, catch_response=True) as response:
            if response.status_code != 200 or not response.json()["success"]:
                response.failure(f"{response.status_code}: {response.text[:200]}")

    @tag("hot")
    @task(6)
    def hot(self) -> None:
        self.ask({"ticker": TICKERS[0]}, "hot")

    @tag("zipf")
    @task(3)
    def zipf(self) -> None:
        self.ask({"ticker": random.choices(TICKERS, WEIGHTS)[0]}, "zipf")

    @tag("list")
    @task(1)
    def list_of_twenty(self) -> None:
        self.ask({"tickers": random.sample(TICKERS, min(20, len(TICKERS)))}, "list of 20")

    @tag("cold")
    @task(1)
    def cold(self) -> None:
        ticker, detail = next(COLD)
        self.ask({"ticker": ticker, "detail": detail}, "cold")

    @tag("health")
    @task(1)
    def health(self) -> None:
        self.client.get("/api/health", name="health")
