"""One line for each request: who asked for what, how it ended and how long it took.

Neither paths, queries, headers nor bodies are logged; they may hold secrets.
"""

import structlog

from bulkhead.web.exchange import Exchange

log = structlog.get_logger("bulkhead.web")

QUIET_ROUTES = frozenset({"/livez", "/readyz", "/metrics"})
SERVER_FAULT = 500


def log_exchange(exchange: Exchange) -> None:
    """Log one exchange; probes only at debug level, failures as errors."""
    if exchange.status >= SERVER_FAULT:
        write = log.error
    elif exchange.route in QUIET_ROUTES:
        write = log.debug
    else:
        write = log.info
    write(
        "request",
        method=exchange.method,
        route=exchange.route,
        status=exchange.status,
        ms=round(exchange.duration_s * 1000, 2),
        user_id=exchange.user_id,
        request_id=exchange.request_id,
    )
