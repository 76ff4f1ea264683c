"""Figures for Prometheus at `/metrics`: requests by route, and whatever the engine measures.

Labels are bounded: routes are templates, methods the known ones, statuses what we send.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable
from itertools import accumulate

from fastapi import APIRouter, Response
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from bulkhead.engine.monitoring.metrics import Figure
from bulkhead.web.exchange import Exchange

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


FigureSource = Callable[[], Iterable[Figure]]
"""Names get the prefix `bulkhead_`; one that ends in `_total` is a counter."""


class Metrics:
    """What is counted in this process; a registry of its own, so that tests do not share it."""

    def __init__(self, sources: Iterable[FigureSource] = ()) -> None:
        """Start at zero; `sources` are asked each time the figures are read."""
        self.registry = CollectorRegistry()
        self._requests = _Requests()
        self.registry.register(self._requests)
        for source in sources:
            self.add(source)

    def add(self, source: FigureSource) -> None:
        """Ask `source` too when the figures are read; it must not wait for anything."""
        self.registry.register(_Figures(source))

    def observe(self, exchange: Exchange) -> None:
        """Count one exchange."""
        self._requests.count(exchange)

    def render(self) -> bytes:
        """The figures in Prometheus' text format."""
        return generate_latest(self.registry)


class _Requests(Collector):
    """Requests by method, route and status, and their durations.

    Counted here, since all of a process's requests end in one thread: the library's own counters
    take a lock for each figure.
    """

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str, str], int] = {}
        self._durations: dict[tuple[str, str], _Durations] = {}

    def count(self, exchange: Exchange) -> None:
        method, route = exchange.method, exchange.route
        key = method, route, str(exchange.status)
        self._counts[key] = self._counts.get(key, 0) + 1
        durations = self._durations.get((method, route))
        if durations is None:
            durations = self._durations[method, route] = _Durations()
        durations.add(exchange.duration_s)

    def collect(self) -> Iterable[Metric]:
        counts = CounterMetricFamily(
            "bulkhead_http_requests", "Requests answered", labels=("method", "route", "status")
        )
        for key, count in self._counts.items():
            counts.add_metric(key, count)
        yield counts
        times = HistogramMetricFamily(
            "bulkhead_http_request_duration_seconds",
            "Time from the request's headers to the end of its answer",
            labels=("method", "route"),
        )
        for labels, durations in self._durations.items():
            times.add_metric(labels, list(durations.buckets()), durations.sum_s)
        yield times


class _Durations:
    """A histogram."""

    __slots__ = ("_counts", "sum_s")

    def __init__(self) -> None:
        self._counts = [0] * (len(BUCKETS_S) + 1)
        self.sum_s = 0.0

    def add(self, duration_s: float) -> None:
        self._counts[bisect_left(BUCKETS_S, duration_s)] += 1
        self.sum_s += duration_s

    def buckets(self) -> Iterable[tuple[str, float]]:
        """Upper bounds, and how many were not above them."""
        bounds = [*(str(bound) for bound in BUCKETS_S), "+Inf"]
        return zip(bounds, accumulate(self._counts), strict=True)


class _Figures(Collector):
    def __init__(self, source: FigureSource) -> None:
        self._source = source

    def collect(self) -> Iterable[Metric]:
        families: dict[str, CounterMetricFamily | GaugeMetricFamily] = {}
        for figure in self._source():
            family = families.get(figure.name)
            if family is None:
                kind = CounterMetricFamily if figure.name.endswith("_total") else GaugeMetricFamily
                family = families[figure.name] = kind(
                    f"bulkhead_{figure.name}",
                    figure.description or figure.name.replace("_", " "),
                    labels=list(figure.labels),
                )
            family.add_metric(list(figure.labels.values()), figure.value)
        return families.values()

    def describe(self) -> Iterable[Metric]:
        """Nothing: the registry need not ask the sources when they are added."""
        return ()


def metrics_router(metrics: Metrics) -> APIRouter:
    """The route `/metrics`."""
    router = APIRouter(tags=["operations"])

    @router.get("/metrics", include_in_schema=False)
    async def read_metrics() -> Response:
        return Response(metrics.render(), media_type=CONTENT_TYPE)

    return router
