"""A circuit breaker: a database that does not answer is left alone for a while.

Without it every request to a dead database would wait for its own time-out and hold its place
meanwhile, so that one dead database takes the others with it. Source: M. Nygard, "Release It!".
"""

import random
from dataclasses import dataclass

from bulkhead.engine.clock import monotonic_s
from bulkhead.engine.errors import Unavailable

FAILURES_TO_OPEN = 3
OPEN_S_MIN = 0.5
OPEN_S_MAX = 10.0


class DatabaseUnavailable(Unavailable):
    """Database '{database}' does not answer; it is tried again in a moment."""

    code = "database_unavailable"
    status = 503
    retry_after_s = 1
    hint = "Repeat the request, with the same Idempotency-Key if it had one."


@dataclass(slots=True)
class Breaker:
    """Counts failures in a row; open means that calls are refused at once."""

    database: str
    failures: int = 0
    opened: int = 0
    """How often it has opened since the last success; the pause grows with it."""
    closed_again_at_s: float = 0.0
    probing: bool = False

    @property
    def is_open(self) -> bool:
        """Whether calls are being refused."""
        return self.opened > 0

    def check(self) -> None:
        """Pass, or raise DatabaseUnavailable; after the pause one caller passes as a probe."""
        if not self.opened:
            return
        if self.probing or monotonic_s() < self.closed_again_at_s:
            raise DatabaseUnavailable(database=self.database)
        self.probing = True

    def succeeded(self) -> None:
        """Note an answer from the server."""
        if self.failures or self.opened:
            self.failures = 0
            self.opened = 0
            self.probing = False

    def failed(self) -> None:
        """Note that the server could not be reached or did not answer in time."""
        self.failures += 1
        if self.opened and not self.probing:
            return  # It began before the breaker opened, and tells nothing new.
        if self.opened or self.failures >= FAILURES_TO_OPEN:
            self.opened += 1
            self.probing = False
            pause_s = min(OPEN_S_MIN * 2 ** (self.opened - 1), OPEN_S_MAX)
            self.closed_again_at_s = monotonic_s() + pause_s * random.uniform(0.8, 1.2)  # noqa: S311

    def abandoned(self) -> None:
        """Note that a probe ended without telling anything about the server."""
        self.probing = False
