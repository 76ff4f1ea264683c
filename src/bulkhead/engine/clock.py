"""The only source of the present time, which tests can stop.

Leases and deadlines that decide between processes never use this clock but the database's own.
"""

import datetime as dt
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_stopped_at: ContextVar[dt.datetime | None] = ContextVar("stopped_at", default=None)


def now() -> dt.datetime:
    """The present instant, UTC and aware."""
    return _stopped_at.get() or dt.datetime.now(dt.UTC)  # noqa: TID251


def monotonic_s() -> float:
    """Seconds on a clock that never goes backwards; for measuring and time-outs."""
    return time.monotonic()


@contextmanager
def stopped(at: dt.datetime) -> Iterator[None]:
    """Make `now()` answer `at` inside the block, in this task and those it starts."""
    token = _stopped_at.set(at)
    try:
        yield
    finally:
        _stopped_at.reset(token)
