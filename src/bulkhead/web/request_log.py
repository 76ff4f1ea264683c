"""One line for each request: who asked for what, how it ended and how long it took.

Neither paths, queries, headers nor bodies are logged; they may hold secrets.
"""

import asyncio
import atexit
import logging
from collections.abc import Callable
from functools import lru_cache
from json.encoder import encode_basestring_ascii

import structlog

from bulkhead.engine.clock import now
from bulkhead.web.exchange import Exchange
from bulkhead.web.logs import render_json

log = structlog.get_logger("bulkhead.web")

QUIET_ROUTES = frozenset({"/livez", "/readyz", "/metrics"})
SERVER_FAULT = 500
DELAY_S = 0.05
LINES_MAX = 500


def request_log() -> Callable[[Exchange], None]:
    """What logs exchanges, as logs are configured now.

    Where lines are JSON they are written directly, several at once: through the logger's stages,
    and each for itself, they would cost more than everything else that the web does for a request.
    """
    config = structlog.get_config()
    processors = config["processors"]
    if not processors or processors[-1] is not render_json:
        return log_exchange
    lines = LineBuffer(config["logger_factory"]().msg)
    atexit.register(lines.flush)
    least: int = config["wrapper_class"](None, (), {}).get_effective_level()
    return _writer(lines, least)


def log_exchange(exchange: Exchange) -> None:
    """Log one exchange; probes only at debug level, failures as errors."""
    log.log(
        level_of(exchange),
        "request",
        method=exchange.method,
        route=exchange.route,
        status=exchange.status,
        ms=round(exchange.duration_s * 1000, 2),
        user_id=exchange.user_id,
        request_id=exchange.request_id,
    )


def level_of(exchange: Exchange) -> int:
    """How loud an exchange is."""
    if exchange.status >= SERVER_FAULT:
        return logging.ERROR
    return logging.DEBUG if exchange.route in QUIET_ROUTES else logging.INFO


def render_line(exchange: Exchange, level: int) -> str:
    """The line as `log_exchange` writes it when lines are JSON."""
    user_id = "null" if exchange.user_id is None else encode_basestring_ascii(exchange.user_id)
    return (
        f"{_render_start(exchange.method, exchange.route, exchange.status)}"
        f'"ms":{round(exchange.duration_s * 1000, 2)},"user_id":{user_id},'
        f'"request_id":{encode_basestring_ascii(exchange.request_id)},"event":"request",'
        f'"level":"{_NAMES[level]}","timestamp":"{now().isoformat(timespec="microseconds")[:26]}Z"}}'
    )


@lru_cache(maxsize=4096)
def _render_start(method: str, route: str, status: int) -> str:
    quoted = encode_basestring_ascii
    return f'{{"method":{quoted(method)},"route":{quoted(route)},"status":{status},'


_NAMES = {logging.DEBUG: "debug", logging.INFO: "info", logging.ERROR: "error"}


class LineBuffer:
    """Lines that are written together, a moment after the first of them."""

    def __init__(self, write: Callable[[str], None]) -> None:
        """Write with `write`, which ends what it is given with a newline."""
        self._write = write
        self._lines: list[str] = []

    def add(self, line: str) -> None:
        """Write `line` within DELAY_S, or at once where no event loop runs."""
        self._lines.append(line)
        if len(self._lines) == 1:
            try:
                asyncio.get_running_loop().call_later(DELAY_S, self.flush)
            except RuntimeError:
                self.flush()
        elif len(self._lines) >= LINES_MAX:
            self.flush()

    def flush(self) -> None:
        """Write what has been added."""
        if self._lines:
            text = "\n".join(self._lines)
            self._lines.clear()
            self._write(text)


def _writer(lines: LineBuffer, least: int) -> Callable[[Exchange], None]:
    def write_exchange(exchange: Exchange) -> None:
        level = level_of(exchange)
        if level >= least:
            lines.add(render_line(exchange, level))
        if level >= logging.ERROR:
            lines.flush()

    return write_exchange
