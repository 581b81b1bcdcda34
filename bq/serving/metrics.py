"""What is counted and how long things take, in Prometheus' text; no ticker, no user, no path ever becomes a label.

Rules of this file: the hot path touches none of these (it counts integers of its own, taken in when somebody asks); a
handler touches one counter and one histogram that were bound beforehand; all else is read from the objects that count
anyway. `bq_http_request_duration_seconds` is therefore of requests that reached a handler.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
"""OpenTelemetry's buckets for HTTP, and two finer ones."""

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


class Reading(NamedTuple):
    """One number read when asked for. Names ending in `_total` are counters."""

    name: str
    text: str
    value: float
    label: str = ""
    label_value: str = ""


class _Readings(Collector):
    def __init__(self, read: Callable[[], Iterable[Reading]]) -> None:
        self._read = read

    def collect(self) -> Iterator[Metric]:
        families: dict[str, Metric] = {}
        for name, text, value, label, label_value in self._read():
            if name not in families:
                make = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
                families[name] = make(name, text, labels=[label] if label else [])
            families[name].add_metric([label_value] if label else [], value)  # type: ignore[attr-defined]
        yield from families.values()


class Metrics:
    """The instruments of one server; each has its own registry, so that tests may have many."""

    def __init__(self, read: Callable[[], Iterable[Reading]], version: str) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "bq_http_requests_total", "requests answered", ["route", "code"], registry=self.registry
        )
        self.duration = Histogram(
            "bq_http_request_duration_seconds",
            "of requests that reached a handler, from head to answer",
            ["route"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self.batch_size = Histogram(
            "bq_batch_size", "tickers a slice", buckets=(1, 2, 4, 8, 16, 32, 64, 128), registry=self.registry
        )
        self.batch_wait = Histogram(
            "bq_batch_wait_seconds", "of a slice's oldest flight", ["class"], buckets=SECONDS, registry=self.registry
        )
        self.batch_duration = Histogram(
            "bq_batch_duration_seconds", "of a slice", buckets=SECONDS, registry=self.registry
        )
        self.loop_lag = Histogram(
            "bq_loop_lag_seconds", "how late the loop's timers are", buckets=SECONDS, registry=self.registry
        )
        self.shed = Counter("bq_shed_total", "requests turned away", ["reason"], registry=self.registry)
        Gauge("bq_build_info", "what runs here", ["version"], registry=self.registry).labels(version).set(1)
        self.registry.register(_Readings(read))

    def text(self) -> bytes:
        """Write everything down as Prometheus reads it."""
        return generate_latest(self.registry)
