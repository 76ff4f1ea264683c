"""Delivers leased events to a handler: the inbox rows and the effect in one transaction.

Events share a transaction, because a commit costs more than most handlers. When it fails, it is
halved until the event that fails stands alone, so that one poison event among a hundred costs
some fourteen transactions. After a database was away, it begins again with a single event.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from bulkhead.engine import failpoints
from bulkhead.engine.clock import monotonic_s
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.connections.database import OpenDatabase
from bulkhead.engine.connections.transaction import Transaction
from bulkhead.engine.drivers.errors import ConnectionLost
from bulkhead.engine.errors import BulkheadError, Unavailable
from bulkhead.engine.messaging.event import decode_event
from bulkhead.engine.messaging.inbox import receive
from bulkhead.engine.messaging.lease import Claim, Delivery, Outcome
from bulkhead.engine.messaging.subscription import Subscription

CHUNK_MAX = 100
HANDLER_TIMEOUT_S = 15.0
ERROR_CHARACTERS_MAX = 2000

BEFORE_DELIVERY = failpoints.register("relay.before_delivery")
RECEIVED = failpoints.register("relay.received")
HANDLED = failpoints.register("relay.handled")
DELIVERED = failpoints.register("relay.delivered")

log = logging.getLogger(__name__)


class DeliveryInterrupted(Unavailable):
    """Database '{database}' cannot receive events at the moment: {reason}."""

    code = "delivery_interrupted"
    hint = "Nothing is lost; delivery goes on when the database answers again."


class HandlerTimedOut(BulkheadError):
    """Handler '{handler}' took longer than {timeout_s} s."""

    code = "handler_timed_out"
    status = 504


@dataclass(slots=True, eq=False)
class Receiver:
    """Hands events to one subscription in its database."""

    subscription: Subscription
    database: OpenDatabase
    timeout_s: float = HANDLER_TIMEOUT_S
    chunk: int = CHUNK_MAX
    """How many events share the next transaction."""
    _handling: bool = False
    """Whether the transaction in hand has come as far as the handler."""

    async def deliver(self, claim: Claim, lease_s: float) -> Outcome:
        """Deliver in order; what could not be tried before the lease ends is released."""
        outcome = Outcome()
        until_s = claim.leased_at_s + lease_s - self.timeout_s
        waiting = list(claim.deliveries)
        try:
            while waiting:
                part = waiting[: count_together(waiting, self.chunk)]
                del waiting[: len(part)]
                began_s = monotonic_s()
                await self._deliver(part, outcome, until_s)
                self._adapt(len(part), monotonic_s() - began_s)
        except DeliveryInterrupted as error:
            outcome.interruption = error
            self.chunk = 1
        settled = {delivery.position for delivery in outcome.delivered}
        settled |= {delivery.position for delivery, _ in outcome.failed}
        outcome.released = [d for d in claim.deliveries if d.position not in settled]
        return outcome

    def _adapt(self, size: int, took_s: float) -> None:
        """Let fewer events share a transaction when it comes near the time-out."""
        if took_s > self.timeout_s / 2:
            self.chunk = max(1, size // 4)
        elif took_s < self.timeout_s / 8:
            self.chunk = min(2 * self.chunk, CHUNK_MAX)

    async def _deliver(self, part: Sequence[Delivery], outcome: Outcome, until_s: float) -> None:
        blocked = {delivery.lane for delivery, _ in outcome.failed}
        part = [delivery for delivery in part if delivery.lane not in blocked]
        if not part or (outcome.tried and monotonic_s() > until_s):
            return
        try:
            await self._attempt(part)
        except (DeliveryInterrupted, failpoints.FailpointReached):
            raise
        except Exception as error:  # noqa: BLE001 - a handler may raise anything
            if len(part) > 1:
                half = len(part) // 2
                await self._deliver(part[:half], outcome, until_s)
                await self._deliver(part[half:], outcome, until_s)
            else:
                outcome.failed.append((part[0], render_failure(error)))
                envelope = part[0].envelope
                log.warning(
                    "%s failed on %s %s: %s",
                    self.subscription.name,
                    envelope.type,
                    envelope.id,
                    render_failure(error),
                )
        else:
            outcome.delivered += part

    async def _attempt(self, part: Sequence[Delivery]) -> None:
        await failpoints.reach(BEFORE_DELIVERY)
        try:
            async with asyncio.timeout(self.timeout_s):
                await self._transact(part)
        except TimeoutError as error:
            if not self._handling:
                reason = f"it did not answer within {self.timeout_s} s"
                raise DeliveryInterrupted(database=self.database.name, reason=reason) from error
            raise HandlerTimedOut(
                handler=self.subscription.name, timeout_s=self.timeout_s
            ) from error
        await failpoints.reach(DELIVERED)

    async def _transact(self, part: Sequence[Delivery]) -> None:
        self._handling = False
        try:
            async with self.database.transaction(SERVICE) as tx:
                ids = [delivery.envelope.id for delivery in part]
                new = await receive(tx, self.subscription.name, ids)
                await failpoints.reach(RECEIVED)
                self._handling = True
                await self._handle(tx, [d for d in part if d.envelope.id in new])
                await failpoints.reach(HANDLED)
        except BulkheadError as error:
            if not self._handling or _is_interruption(error, alone=len(part) == 1):
                raise DeliveryInterrupted(
                    database=self.database.name, reason=error.message
                ) from error
            raise

    async def _handle(self, tx: Transaction, part: Sequence[Delivery]) -> None:
        subscription = self.subscription
        events = [decode_event(subscription.event, d.envelope.payload) for d in part]
        if subscription.batch:
            if events:
                await subscription.handle(tx, events)
        else:
            for event in events:
                await subscription.handle(tx, event)


def count_together(deliveries: Sequence[Delivery], limit: int) -> int:
    """How many of the first may share a transaction: one that has failed before stands alone."""
    for count, delivery in enumerate(deliveries[:limit]):
        if delivery.attempts:
            return max(count, 1)
    return min(limit, len(deliveries))


def render_failure(error: BaseException) -> str:
    """What a dead letter keeps of an error."""
    name = error.code if isinstance(error, BulkheadError) else type(error).__name__
    return f"{name}: {error}"[:ERROR_CHARACTERS_MAX].replace("\0", "")


def _is_interruption(error: BulkheadError, *, alone: bool) -> bool:
    """Whether the database, and not the event, is to blame.

    A connection that is lost whenever one event is handled may be lost because of it.
    """
    if isinstance(error, ConnectionLost) and alone:
        return False
    return isinstance(error, Unavailable)
