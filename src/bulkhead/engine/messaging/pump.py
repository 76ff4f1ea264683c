"""A pump moves the deliveries of one handler out of one outbox.

One batch is in flight; what is published meanwhile forms the next one. A handler whose database is
away stops its own pump only.
"""

from __future__ import annotations

import asyncio
import logging
import random
from dataclasses import dataclass, field

from bulkhead.engine import failpoints
from bulkhead.engine.clock import monotonic_s
from bulkhead.engine.connections.database import OpenDatabase
from bulkhead.engine.errors import BulkheadError
from bulkhead.engine.messaging.delivery import Receiver
from bulkhead.engine.messaging.lease import Claim, Lessee, Outcome

PAUSE_S_MIN = 0.25
PAUSE_S_MAX = 10.0
PACE_S = 0.005
"""Turns of one pump begin at least this far apart, so that events gather while it is busy."""
BUSY = 16
"""A batch of this size takes the next one along without waiting."""
CONTENTION_S_MIN = 0.02
CONTENTION_S_MAX = 1.0

BEFORE_CLAIM = failpoints.register("relay.before_claim")
CLAIMED = failpoints.register("relay.claimed")
ACKNOWLEDGED = failpoints.register("relay.acknowledged")

log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Pump:
    """Claims from `source`, delivers through `receiver`, acknowledges; again and again."""

    source: OpenDatabase
    lessee: Lessee
    receiver: Receiver
    delivered: int = 0
    """Since the start; counts repeated deliveries too."""
    failed: int = 0
    """Attempts that failed, since the start."""
    interrupted: int = 0
    """How often the handler's database was away, since the start."""
    pause_s: float = 0.0
    """How long it waits because a database is away; 0 when all is well."""
    look_s: float = 0.0
    """How long it took to look everywhere and find nothing."""
    _contention_s: float = CONTENTION_S_MIN
    _bell: asyncio.Event = field(default_factory=asyncio.Event)
    _sweep: bool = False
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)
    _turning: asyncio.Lock = field(default_factory=asyncio.Lock)

    def ring(self, *, sweep: bool = False) -> None:
        """Say that there may be something to deliver; with `sweep`, also where it did not look."""
        self._sweep = self._sweep or sweep
        self._bell.set()

    async def run(self, stopping: asyncio.Event) -> None:
        """Deliver whenever rung, until `stopping` is set and the bell is rung once more."""
        self._stopping = stopping
        began_s = 0.0
        while True:
            await self._bell.wait()
            if stopping.is_set():
                return
            # Under load a turn for every event costs more than the events: let some gather.
            if (wait_s := began_s + PACE_S - monotonic_s()) > 0:
                await asyncio.sleep(wait_s)
            began_s = monotonic_s()
            try:
                await self.turn()
            except BulkheadError as error:
                self.pause_s = min(max(PAUSE_S_MIN, 2 * self.pause_s), PAUSE_S_MAX)
                log.warning("%s waits for %.1f s: %s", self.lessee.handler, self.pause_s, error)
            except Exception:
                self.pause_s = PAUSE_S_MAX
                log.exception("%s waits for %.1f s", self.lessee.handler, self.pause_s)
            else:
                self.pause_s = 0.0
                if stopping.is_set():
                    return
                continue
            self.ring(sweep=True)
            await is_set_within(stopping, self.pause_s * random.uniform(0.5, 1.0))  # noqa: S311

    async def turn(self, *, sweep: bool = False) -> int:
        """Deliver until nothing is left that can be; return how many deliveries were made.

        Raises DeliveryInterrupted when the handler's database is away, and whatever keeps the
        outbox from answering.
        """
        async with self._turning:
            before, began_s = self.delivered, monotonic_s()
            sweep = sweep or self._sweep
            await failpoints.reach(BEFORE_CLAIM)
            claim = await self._claim(sweep=sweep)
            contended = claim.contended
            while claim.deliveries or claim.more:
                outcome = await self.receiver.deliver(claim, self.lessee.lease_s)
                self.delivered += len(outcome.delivered)
                self.failed += len(outcome.failed)
                self.interrupted += outcome.interruption is not None
                claim = await self._settle(claim, outcome)
                contended = claim.contended or contended
                if outcome.interruption is not None:
                    raise outcome.interruption
            if sweep:
                self.look_s = 0.0 if self.delivered > before else monotonic_s() - began_s
            if contended:
                self._ring_later(success=self.delivered > before)
            return self.delivered - before

    def _ring_later(self, *, success: bool) -> None:
        """Look again when another relay may be done: soon, then ever more rarely."""
        wait_s = CONTENTION_S_MIN if success else min(2 * self._contention_s, CONTENTION_S_MAX)
        self._contention_s = wait_s
        asyncio.get_running_loop().call_later(wait_s, self.ring)

    async def _claim(self, *, sweep: bool) -> Claim:
        self._bell.clear()
        if sweep:
            self._sweep = False
            self.lessee.floor.reset()
        claim = await self.lessee.claim(self.source)
        if claim.deliveries:
            await failpoints.reach(CLAIMED)
        return claim

    async def _settle(self, claim: Claim, outcome: Outcome) -> Claim:
        """Settle `claim`, and take the next one along when there is likely to be one."""
        rung = claim.more or (self._bell.is_set() and len(claim.deliveries) >= BUSY)
        again = rung and outcome.interruption is None and not self._stopping.is_set()
        following = Claim()
        if again:
            self._bell.clear()
            following = await self.lessee.claim(self.source, outcome)
        else:
            await self.lessee.settle(self.source, outcome)
        if claim.deliveries:
            await failpoints.reach(ACKNOWLEDGED)
        if following.deliveries:
            await failpoints.reach(CLAIMED)
        return following


async def is_set_within(event: asyncio.Event, timeout_s: float) -> bool:
    """Wait for `event`, and tell whether it was set before `timeout_s` had passed."""
    try:
        async with asyncio.timeout(timeout_s):
            return await event.wait()
    except TimeoutError:
        return False
