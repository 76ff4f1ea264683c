"""Delivers the events of the local payment company, as unreliably as a test or a demo asks for."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from bulkhead.capabilities.payments.ledger import QUERIES, Ledger
from bulkhead.capabilities.payments.post import post
from bulkhead.capabilities.payments.signature import HEADER, sign

ATTEMPTS_MAX = 16
BATCH_MAX = 100
LEASE_S = 30.0
BACKOFF_S_MIN = 0.5
BACKOFF_S_MAX = 300.0
ACCEPTED = range(200, 300)

Send = Callable[[str, Mapping[str, str], bytes], Awaitable[int]]
"""Sends a body to an address and returns the HTTP status of the answer."""


@dataclass(frozen=True, slots=True)
class Mischief:
    """How deliveries go wrong; the same seed makes the same trouble."""

    repeat: int = 0
    """How often each event is delivered once more."""
    delay_s: float = 0.0
    """How long after it happened an event is delivered at the earliest."""
    reorder: bool = False
    """Whether the events that are due together come in random order."""
    drop_first: bool = False
    """Whether the first delivery of each event is lost on the way."""
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Delivery:
    """An event on its way."""

    sequence: int
    body: bytes
    attempts: int


@dataclass(slots=True, eq=False)
class Deliverer:
    """Sends what the ledger has to tell, until it is accepted."""

    ledger: Ledger
    secret: str = field(repr=False)
    send: Send = post

    async def deliver_due(self, url: str, mischief: Mischief, now_s: float) -> int:
        """Try once to deliver the events that are due to `url`; return how many were accepted."""
        accepted = 0
        for delivery in self._claim(mischief, now_s):
            if await self._deliver(url, delivery, mischief, now_s):
                self._mark(QUERIES.mark_delivered, delivery, now=now_s)
                accepted += 1
            else:
                pause_s = min(BACKOFF_S_MIN * 2**delivery.attempts, BACKOFF_S_MAX)
                self._mark(QUERIES.mark_failed, delivery, next_at=now_s + pause_s)
        return accepted

    def make_due(self) -> int:
        """Let every event that is not delivered be due now; return how many these are."""
        with self.ledger.writing():
            return self.ledger.connection.execute(QUERIES.make_due).rowcount

    def next_due_s(self) -> float | None:
        """When there is something to do next; None when there is nothing."""
        found = self.ledger.connection.execute(
            QUERIES.next_due, {"attempts_max": ATTEMPTS_MAX}
        ).fetchone()
        return None if found[0] is None else float(found[0])

    def _claim(self, mischief: Mischief, now_s: float) -> list[Delivery]:
        window = {
            "now": now_s - mischief.delay_s,
            "lease_until": now_s + LEASE_S,
            "attempts_max": ATTEMPTS_MAX,
            "batch": BATCH_MAX,
        }
        with self.ledger.writing():
            rows = self.ledger.connection.execute(QUERIES.claim_events, window).fetchall()
        found = sorted(
            (Delivery(row["sequence"], row["body"].encode(), row["attempts"]) for row in rows),
            key=lambda delivery: delivery.sequence,
        )
        if mischief.reorder and found:
            seed = f"{mischief.seed} {found[0].sequence}"
            random.Random(seed).shuffle(found)  # noqa: S311 - repeatable, not secret
        return found

    async def _deliver(
        self, url: str, delivery: Delivery, mischief: Mischief, now_s: float
    ) -> bool:
        if mischief.drop_first and delivery.attempts == 0:
            return False
        headers = {
            "content-type": "application/json",
            HEADER: sign(self.secret, delivery.body, int(now_s)),
        }
        try:
            for _ in range(1 + mischief.repeat):
                if await self.send(url, headers, delivery.body) not in ACCEPTED:
                    return False
        except (OSError, TimeoutError, ValueError):
            return False
        return True

    def _mark(self, statement: str, delivery: Delivery, **values: float) -> None:
        with self.ledger.writing():
            self.ledger.connection.execute(statement, {"sequence": delivery.sequence, **values})
