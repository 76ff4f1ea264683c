"""Figures for Prometheus at `/metrics`: requests by route, and whatever the engine measures.

Labels are bounded: routes are templates, methods the known ones, statuses what we send.
"""

from collections.abc import Callable, Iterable

from fastapi import APIRouter, Response
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
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
        self._requests = Counter(
            "bulkhead_http_requests",
            "Requests answered",
            ("method", "route", "status"),
            registry=self.registry,
        )
        self._durations = Histogram(
            "bulkhead_http_request_duration_seconds",
            "Time from the request's headers to the end of its answer",
            ("method", "route"),
            buckets=BUCKETS_S,
            registry=self.registry,
        )
        self._counters: dict[tuple[str, str, int], Counter] = {}
        self._histograms: dict[tuple[str, str], Histogram] = {}
        for source in sources:
            self.add(source)

    def add(self, source: FigureSource) -> None:
        """Ask `source` too when the figures are read; it must not wait for anything."""
        self.registry.register(_Figures(source))

    def observe(self, exchange: Exchange) -> None:
        """Count one exchange."""
        method, route, status = exchange.method, exchange.route, exchange.status
        counter = self._counters.get((method, route, status))
        if counter is None:
            counter = self._requests.labels(method, route, str(status))
            self._counters[method, route, status] = counter
            self._histograms[method, route] = self._durations.labels(method, route)
        counter.inc()
        self._histograms[method, route].observe(exchange.duration_s)

    def render(self) -> bytes:
        """The figures in Prometheus' text format."""
        return generate_latest(self.registry)


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
