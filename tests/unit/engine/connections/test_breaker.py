import pytest

from bulkhead.engine.connections import breaker as module
from bulkhead.engine.connections.breaker import Breaker, DatabaseUnavailable


@pytest.fixture
def time_s(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(module, "monotonic_s", lambda: now[0])
    return now


def test_a_breaker_opens_after_three_failures_in_a_row(time_s: list[float]) -> None:
    breaker = Breaker("shop.orders")
    breaker.failed()
    breaker.failed()
    breaker.check()
    breaker.succeeded()
    for _ in range(3):
        breaker.failed()
    with pytest.raises(DatabaseUnavailable):
        breaker.check()
    assert time_s == [0.0]


def test_an_open_breaker_lets_one_probe_through_after_its_pause(time_s: list[float]) -> None:
    breaker = Breaker("shop.orders")
    for _ in range(3):
        breaker.failed()
    time_s[0] = 1.0
    breaker.check()
    with pytest.raises(DatabaseUnavailable):
        breaker.check()
    breaker.succeeded()
    breaker.check()
    breaker.check()


def test_a_failed_probe_doubles_the_pause_up_to_a_limit(time_s: list[float]) -> None:
    breaker = Breaker("shop.orders")
    for _ in range(3):
        breaker.failed()
    first_s = breaker.closed_again_at_s - time_s[0]
    for _ in range(20):
        time_s[0] = breaker.closed_again_at_s
        breaker.check()
        breaker.failed()
    assert first_s < 1.0
    assert 5.0 < breaker.closed_again_at_s - time_s[0] < 15.0


def test_many_failures_of_one_moment_open_a_breaker_once(time_s: list[float]) -> None:
    breaker = Breaker("shop.orders")
    for _ in range(50):
        breaker.failed()
    assert breaker.closed_again_at_s - time_s[0] < 1.0
    time_s[0] = 1.0
    breaker.check()
