import asyncio
import datetime as dt
import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.engine.clock import stopped
from bulkhead.engine.settings import Settings
from bulkhead.web.exchange import Exchange
from bulkhead.web.logs import HIDDEN, configure_logs, sounds_secret
from bulkhead.web.request_log import LINES_MAX, LineBuffer, log_exchange, request_log

NOON = dt.datetime(2026, 11, 26, 12, tzinfo=dt.UTC)


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    before = root.handlers, root.level
    stream = io.StringIO()
    configure_logs(Settings(log_format="json"), stream)
    yield stream
    structlog.reset_defaults()
    root.handlers, root.level = before


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_request_becomes_one_line_of_json(stream: io.StringIO) -> None:
    log_exchange(Exchange("r1", "POST", "/commerce/checkout", 201, 0.01234, "u1"))
    (line,) = lines(stream)
    assert line.pop("timestamp")
    assert line == {
        "event": "request",
        "level": "info",
        "method": "POST",
        "route": "/commerce/checkout",
        "status": 201,
        "ms": 12.34,
        "user_id": "u1",
        "request_id": "r1",
    }


@pytest.mark.parametrize("direct", [True, False])
def test_probes_are_quiet_and_failures_loud(stream: io.StringIO, *, direct: bool) -> None:
    observe = request_log() if direct else log_exchange
    observe(Exchange("r1", "GET", "/livez", 200, 0.001, None))
    observe(Exchange("r2", "GET", "/readyz", 503, 0.001, None))
    assert [(line["request_id"], line["level"]) for line in lines(stream)] == [("r2", "error")]


@given(
    st.tuples(
        *(st.text(), st.sampled_from(["GET", "POST"]), st.text(), st.integers(100, 599)),
        *(st.floats(0, 1e4), st.none() | st.text()),
    )
)
def test_a_line_that_is_written_directly_says_the_same(parts: Any) -> None:
    exchange = Exchange(*parts)
    through, direct = io.StringIO(), io.StringIO()
    for stream, observe in ((through, lambda: log_exchange), (direct, request_log)):
        configure_logs(Settings(log_format="json", log_level="debug"), stream)
        with stopped(NOON):
            observe()(exchange)
    (expected,), (line,) = lines(through), lines(direct)
    assert line.pop("timestamp") == "2026-11-26T12:00:00.000000Z"
    assert expected.pop("timestamp")
    assert line == expected
    assert list(line) == list(expected)


async def test_lines_are_written_together_and_failures_at_once(stream: io.StringIO) -> None:
    observe = request_log()
    for number in range(3):
        observe(Exchange(f"r{number}", "GET", "/a", 200, 0.001, None))
    assert not stream.getvalue()
    observe(Exchange("r3", "GET", "/a", 500, 0.001, None))
    assert [line["request_id"] for line in lines(stream)] == ["r0", "r1", "r2", "r3"]


async def test_a_line_that_nothing_follows_is_written_soon() -> None:
    written: asyncio.Queue[str] = asyncio.Queue()
    LineBuffer(written.put_nowait).add("a line")
    async with asyncio.timeout(5.0):
        assert await written.get() == "a line"


async def test_no_more_lines_are_kept_than_so_many(stream: io.StringIO) -> None:
    observe = request_log()
    for number in range(LINES_MAX):
        observe(Exchange(f"r{number}", "GET", "/a", 200, 0.001, None))
    assert len(lines(stream)) == LINES_MAX


def test_lines_as_text_go_through_the_logger() -> None:
    configure_logs(Settings(log_format="text"), io.StringIO())
    assert request_log() is log_exchange


def test_lines_of_other_loggers_look_the_same(stream: io.StringIO) -> None:
    logging.getLogger("bulkhead.engine.system").warning("job %s failed", "sweep")
    (line,) = lines(stream)
    assert (line["event"], line["level"]) == ("job sweep failed", "warning")
    assert line["logger"] == "bulkhead.engine.system"


def test_an_exception_is_logged_with_its_trace(stream: io.StringIO) -> None:
    try:
        _ = 1 / 0
    except ZeroDivisionError:
        structlog.get_logger().exception("broken")
    (line,) = lines(stream)
    assert "ZeroDivisionError" in str(line["exception"])


def test_a_trace_as_text_shows_no_values() -> None:
    stream = io.StringIO()
    configure_logs(Settings(log_format="text"), stream)
    password = "swordfish"  # noqa: S105
    try:
        _ = int(password[:0])
    except ValueError:
        structlog.get_logger().exception("broken")
    assert "ValueError" in stream.getvalue()
    assert "swordfish'" not in stream.getvalue()


def test_secrets_are_hidden(stream: io.StringIO) -> None:
    structlog.get_logger().info("signed in", access_token="eyJ", Password="x", user_id="u1")  # noqa: S106
    (line,) = lines(stream)
    assert (line["access_token"], line["Password"], line["user_id"]) == (HIDDEN, HIDDEN, "u1")
    assert sounds_secret("set-cookie")
    assert not sounds_secret("database")
