import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from bulkhead.engine.settings import Settings
from bulkhead.web.exchange import Exchange
from bulkhead.web.logs import HIDDEN, configure_logs, sounds_secret
from bulkhead.web.request_log import log_exchange


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


def test_probes_are_quiet_and_failures_loud(stream: io.StringIO) -> None:
    log_exchange(Exchange("r1", "GET", "/livez", 200, 0.001, None))
    log_exchange(Exchange("r2", "GET", "/readyz", 503, 0.001, None))
    assert [(line["request_id"], line["level"]) for line in lines(stream)] == [("r2", "error")]


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
