from bulkhead.engine.monitoring.metrics import Figure
from bulkhead.web.exchange import Exchange
from bulkhead.web.metrics import Metrics


def exchange(route: str = "/commerce/carts/{cart_id}", status: int = 200) -> Exchange:
    return Exchange("r1", "GET", route, status, 0.02, None)


def test_requests_are_counted_by_template_and_status() -> None:
    metrics = Metrics()
    metrics.observe(exchange())
    metrics.observe(exchange())
    metrics.observe(exchange(status=404))
    text = metrics.render().decode()
    labels = 'method="GET",route="/commerce/carts/{cart_id}"'
    assert f'bulkhead_http_requests_total{{{labels},status="200"}} 2.0' in text
    assert f'bulkhead_http_requests_total{{{labels},status="404"}} 1.0' in text
    assert f"bulkhead_http_request_duration_seconds_count{{{labels}}} 3.0" in text
    assert f'bulkhead_http_request_duration_seconds_bucket{{le="0.025",{labels}}} 3.0' in text


def test_the_engine_s_figures_are_read_when_they_are_asked_for() -> None:
    lag_s = 1.5

    def measure() -> list[Figure]:
        return [
            Figure(
                "outbox_lag_seconds", lag_s, {"database": "commerce.orders"}, "Age of the oldest"
            ),
            Figure("outbox_lag_seconds", 0.0, {"database": "commerce.users"}, "Age of the oldest"),
            Figure("sagas_ended_total", 7, {"state": "done"}),
        ]

    metrics = Metrics([measure])
    lag_s = 2.5
    text = metrics.render().decode()
    assert 'bulkhead_outbox_lag_seconds{database="commerce.orders"} 2.5' in text
    assert 'bulkhead_outbox_lag_seconds{database="commerce.users"} 0.0' in text
    assert "# TYPE bulkhead_outbox_lag_seconds gauge" in text
    assert 'bulkhead_sagas_ended_total{state="done"} 7.0' in text


def test_two_sets_of_metrics_know_nothing_of_each_other() -> None:
    first, second = Metrics(), Metrics()
    first.observe(exchange())
    assert b'status="200"' not in second.render()
