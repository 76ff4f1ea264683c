"""How log lines look and where they go: JSON for machines, text for a terminal, on stderr.

Lines of the standard library's loggers (the engine's, the server's) come out in the same form.
"""

import json
import logging
import sys
from collections.abc import MutableMapping
from functools import lru_cache
from typing import Any, TextIO

import structlog

from bulkhead.engine.settings import Settings

HIDDEN = "[hidden]"
_SECRET_WORDS = ("password", "secret", "token", "authorization", "cookie", "api_key", "dsn")

_ENCODER = json.JSONEncoder(default=str, separators=(",", ":"))

Event = MutableMapping[str, Any]


def configure_logs(settings: Settings, stream: TextIO | None = None) -> None:
    """Set up the logs of this process; call it once, before anything is logged."""
    stream = stream or sys.stderr
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        hide_secrets,
    ]
    as_text = settings.log_format == "text" or (settings.log_format == "auto" and stream.isatty())
    ending: list[structlog.typing.Processor] = (
        [_text_renderer(stream)] if as_text else [structlog.processors.format_exc_info, render_json]
    )
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    structlog.configure(
        processors=[*shared, *ending],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=stream),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *ending],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)


def _text_renderer(stream: TextIO) -> structlog.dev.ConsoleRenderer:
    # The default shows the values of local variables, which may be secrets.
    return structlog.dev.ConsoleRenderer(
        colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback
    )


def render_json(_logger: object, _method: str, event: Event) -> str:
    """Render a line; one encoder for all of them, which structlog's own renderer lacks."""
    return _ENCODER.encode(event)


def hide_secrets(_logger: object, _method: str, event: Event) -> Event:
    """Replace the values of keys that sound like secrets."""
    for key in event:
        if sounds_secret(key):
            event[key] = HIDDEN
    return event


@lru_cache(maxsize=1024)
def sounds_secret(key: str) -> bool:
    """Whether a value called `key` had better not be logged."""
    return any(word in key.lower() for word in _SECRET_WORDS)
