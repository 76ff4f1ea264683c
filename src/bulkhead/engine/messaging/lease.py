"""Leases on deliveries: what a relay has taken from an outbox to deliver.

Reading by an id cursor loses what commits out of order, so a relay looks at rows and never
remembers what it has read. It may lease a delivery when every earlier one of its lane (handler
and key) is free as well and leased in the same statement: so the deliveries of a lane are in one
hand at a time, in order, and whatever was published later waits. A row that was committed after
the look belongs to a transaction that did not wait for the others, so that no order was promised.

All times are the database's. A lease is a promise about speed, not about safety: whoever takes
over an expired lease may meet the first holder, and the inbox decides between them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import TYPE_CHECKING, Any
from uuid import UUID

from bulkhead.engine.clock import monotonic_s
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.connections.queries import load_queries
from bulkhead.engine.errors import BulkheadError
from bulkhead.engine.ids import new_id
from bulkhead.engine.messaging.event import Envelope

if TYPE_CHECKING:
    from bulkhead.engine.connections.database import OpenDatabase
    from bulkhead.engine.connections.transaction import Transaction

QUERIES = load_queries(__package__)

BATCH_MAX = 500
WINDOW_MAX = 2 * BATCH_MAX
GRACE_S = 1.0

# What is lost with a crash of the server is only that something was leased or acknowledged, and
# then it is delivered again to an inbox that has it already. The planner must not take an outbox
# that happened to be empty when it planned for one that is always small.
_LIGHT = "set local synchronous_commit to off"
_PRELUDE = f"{_LIGHT};set local enable_seqscan to off;set local enable_mergejoin to off"

Place = tuple[int, int]
"""Where a row stands in its file (ctid): the way to it that no planner can miss."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A delivery at which a relay has looked."""

    position: int
    lane: int
    free: bool
    place: Place = (0, 0)
    leased: bool = False
    """Whether another relay has it."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A leased delivery."""

    position: int
    lane: int
    place: Place
    attempts: int
    """How often it has failed."""
    envelope: Envelope


@dataclass(frozen=True, slots=True)
class Claim:
    """What one look has given."""

    deliveries: Sequence[Delivery] = ()
    more: bool = False
    """Whether it is worth to look again at once."""
    contended: bool = False
    """Whether another relay holds something, so that more may come free without a sign."""
    leased_at_s: float = 0.0
    """On the monotonic clock of this process; not later than the lease began."""


@dataclass(slots=True)
class Outcome:
    """What has become of the deliveries of a claim."""

    delivered: list[Delivery] = field(default_factory=list)
    failed: list[tuple[Delivery, str]] = field(default_factory=list)
    released: list[Delivery] = field(default_factory=list)
    interruption: BulkheadError | None = None
    """Why the rest was released, where the handler's database could not be reached."""

    @property
    def tried(self) -> int:
        """How many deliveries have been tried."""
        return len(self.delivered) + len(self.failed)


@dataclass(frozen=True, slots=True)
class Retry:
    """How failures are repeated."""

    attempts_max: int = 8
    pause_s: float = 1.0
    """Before the second attempt; doubles with each further one, spread by half."""
    pause_s_max: float = 300.0


@dataclass(slots=True)
class Floor:
    """Where a look may begin: below it, nothing is expected that could be leased.

    Only a matter of speed. It spares the rows behind a dead letter, and the remains of deleted
    rows that a long snapshot (a backup) keeps from being vacuumed. It lags by GRACE_S, for rows
    that commit late; a sweep begins at 0 again and finds whatever was below.
    """

    position: int = 0
    moved_at_s: float = field(default_factory=monotonic_s)
    _highest: int = 0
    _older: int = 0
    _oldest: int = 0

    def reset(self) -> None:
        """Look everywhere the next time."""
        self.position = 0

    def advance(self, *, highest: int, left_behind: int | None, stuck: bool, now_s: float) -> None:
        """Move after a look that went up to `highest` and left a free `left_behind` untaken."""
        self._highest = max(self._highest, highest)
        if now_s - self.moved_at_s >= GRACE_S:
            self._oldest, self._older = self._older, self._highest
            self.moved_at_s = now_s
        limit = highest if stuck else self._oldest
        if left_behind is not None:
            limit = min(limit, left_behind - 1)
        self.position = max(self.position, limit)


@dataclass(slots=True, eq=False)
class Lessee:
    """Leases the deliveries of one handler from one outbox."""

    database: str
    handler: str
    lease_s: float = 30.0
    batch_max: int = BATCH_MAX
    retry: Retry = field(default_factory=Retry)
    floor: Floor = field(default_factory=Floor)
    id: UUID = field(default_factory=new_id)

    async def claim(self, source: OpenDatabase, outcome: Outcome | None = None) -> Claim:
        """Settle the last claim's `outcome` and lease what can be delivered next."""
        first = _PRELUDE + self._acknowledgement(outcome)
        async with source.transaction(SERVICE, first=first) as tx:
            if outcome is not None:
                await self._settle_failures(tx, outcome)
            return await self._claim(tx)

    async def settle(self, source: OpenDatabase, outcome: Outcome) -> None:
        """Settle the last claim's `outcome`."""
        async with source.transaction(SERVICE) as tx:
            tx.at_commit(_LIGHT + self._acknowledgement(outcome))
            await self._settle_failures(tx, outcome)

    async def _claim(self, tx: Transaction) -> Claim:
        now_s = monotonic_s()
        window = max(WINDOW_MAX, 2 * self.batch_max)
        seen = await self._look(tx, window)
        passable = list_passable(seen)
        chosen = passable[: self.batch_max]
        leased = await self._lease(tx, chosen)
        held, broken = keep_unbroken(chosen, leased.keys())
        await self._release(tx, [leased[position] for position in broken])
        stuck = len(seen) == window and not passable
        if seen:
            self.floor.advance(
                highest=seen[-1].position,
                left_behind=_left_behind(passable, held),
                stuck=stuck,
                now_s=now_s,
            )
        more = stuck or len(held) == self.batch_max or (len(seen) == window and bool(held))
        contended = len(held) < len(chosen) or any(delivery.leased for delivery in seen)
        return Claim([leased[position] for position in held], more, contended, now_s)

    def _acknowledgement(self, outcome: Outcome | None) -> str:
        """As text, so that it travels with the statements around it."""
        if outcome is None or not outcome.delivered:
            return ""
        places = ",".join(f"'({d.place[0]},{d.place[1]})'" for d in outcome.delivered)
        positions = ",".join(str(delivery.position) for delivery in outcome.delivered)
        return (
            f";delete from bulkhead.deliveries where ctid in({places})"
            f"and position+0 in({positions})and lease_id='{self.id}'"
        )

    async def _settle_failures(self, tx: Transaction, outcome: Outcome) -> None:
        if outcome.failed:
            await tx.execute(
                QUERIES.fail_deliveries,
                self.id,
                [delivery.position for delivery, _ in outcome.failed],
                [delivery.place for delivery, _ in outcome.failed],
                [error for _, error in outcome.failed],
                self.retry.attempts_max,
                self.retry.pause_s,
                self.retry.pause_s_max,
            )
        await self._release(tx, outcome.released)
        if outcome.failed or outcome.released:
            self.floor.reset()

    async def _release(self, tx: Transaction, deliveries: Sequence[Delivery]) -> None:
        if deliveries:
            positions = [delivery.position for delivery in deliveries]
            places = [delivery.place for delivery in deliveries]
            await tx.execute(QUERIES.release_deliveries, self.id, positions, places)

    async def _look(self, tx: Transaction, window: int) -> list[Seen]:
        if self.floor.position:
            rows = await tx.fetch(
                QUERIES.list_deliveries_after, self.handler, self.id, window, self.floor.position
            )
        else:
            rows = await tx.fetch(QUERIES.list_next_deliveries, self.handler, self.id, window)
        return [
            Seen(row["position"], row["lane"], row["free"], row["ctid"], row["leased"])
            for row in rows
        ]

    async def _lease(self, tx: Transaction, chosen: Sequence[Seen]) -> dict[int, Delivery]:
        if not chosen:
            return {}
        positions = [seen.position for seen in chosen]
        places = [seen.place for seen in chosen]
        rows = await tx.fetch(QUERIES.lease_deliveries, self.id, positions, places, self.lease_s)
        return {row["position"]: self._parse(row) for row in rows}

    def _parse(self, row: Mapping[str, Any]) -> Delivery:
        envelope = Envelope(
            row["event_id"],
            row["type"],
            row["key"],
            row["payload"],
            row["occurred_at"],
            self.database,
        )
        return Delivery(row["position"], row["lane"], row["ctid"], row["attempts"], envelope)


def list_passable(seen: Sequence[Seen]) -> list[Seen]:
    """Those that are free, as is everything before them in their lane."""
    blocked: set[int] = set()
    passable: list[Seen] = []
    for delivery in seen:
        if delivery.free and delivery.lane not in blocked:
            passable.append(delivery)
        else:
            blocked.add(delivery.lane)
    return passable


def keep_unbroken(chosen: Sequence[Seen], leased: Collection[int]) -> tuple[list[int], list[int]]:
    """Split the positions `leased` of those `chosen`: what may be kept, and what follows a gap."""
    gaps: set[int] = set()
    held: list[int] = []
    broken: list[int] = []
    for delivery in chosen:
        if delivery.position not in leased:
            gaps.add(delivery.lane)
        elif delivery.lane in gaps:
            broken.append(delivery.position)
        else:
            held.append(delivery.position)
    return held, broken


def _left_behind(passable: Sequence[Seen], held: Collection[int]) -> int | None:
    """The first position that could have been taken and was not."""
    for delivery, position in zip_longest(passable, held):
        if position is None or delivery.position != position:
            return int(delivery.position)
    return None
