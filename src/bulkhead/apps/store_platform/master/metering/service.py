"""Use cases of metering: hold and settle what plans limit, count calls, show what is used."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import UUID

from bulkhead.apps.store_platform.master.metering.model import (
    BYTES_PER_GB,
    EVER,
    Admitted,
    Call,
    Contents,
    Hold,
    Metric,
    Outcome,
    PlanLimitReached,
)
from bulkhead.engine import clock, failpoints
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.connections.queries import load_queries
from bulkhead.engine.errors import BulkheadError, NotFound
from bulkhead.engine.messaging.saga_batch import Batcher

if TYPE_CHECKING:
    from bulkhead.engine.connections.database import OpenDatabase
    from bulkhead.engine.connections.transaction import Transaction

QUERIES = load_queries(__package__)
STALE_S = 120.0
"""Longer than any write in a store's database can take, with the statements' time limits."""
MEMORY_S = 3600.0
"""How long settled holds are remembered; many times `STALE_S`."""
SWEEP_MAX = 200
FLUSH_S = 0.5
OUTCOMES_MAX = 500
PARTITIONS_AHEAD = 2
ADMITTED = failpoints.register("metering.admitted")

log = logging.getLogger(__name__)


async def hold(tx: Transaction, wish: Hold, today: dt.date) -> bool:
    """Take from a limit what is about to be written; False when another attempt has done so.

    Then both write, and the one row in the store decides. Raises PlanLimitReached.
    """
    period = today.replace(day=1) if wish.metric.is_monthly else EVER
    place = (wish.store, wish.metric.value, period)
    is_first = await tx.fetchval(
        QUERIES.add_hold, wish.id, *place, wish.amount, wish.subject, wish.value
    )
    if not is_first:
        return False
    if await tx.fetchrow(QUERIES.take, *place, wish.amount) is None:
        await tx.execute(QUERIES.ensure_counter, *place)
        if await tx.fetchrow(QUERIES.take, *place, wish.amount) is None:
            raise await _refusal(tx, wish.store, wish.metric)
    return True


async def settle(tx: Transaction, holds: Iterable[UUID]) -> None:
    """What was held has come about: count it. Repeatable."""
    await tx.execute(QUERIES.settle, list(holds))


async def release(tx: Transaction, wish: Hold) -> None:
    """What was held came to nothing: give it back. Repeatable.

    Not where another attempt is at the same by now: its own end, or a sweep, decides then.
    """
    await tx.execute(QUERIES.release, wish.id, wish.checked_at)


async def lock_taken(tx: Transaction, store: UUID, metric: Metric) -> int:
    """How much a store has, and is about to have; until `tx` ends nobody takes of it."""
    period = clock.now().date().replace(day=1) if metric.is_monthly else EVER
    await tx.execute(QUERIES.ensure_counter, store, metric.value, period)
    return int(await tx.fetchval(QUERIES.lock_counter, store, metric.value, period))


async def list_open(db: Transaction, store: UUID, metric: Metric) -> list[tuple[Hold, float]]:
    """What is held of a store and not settled, each with its age in seconds."""
    return [
        (
            Hold(
                row["id"],
                store,
                metric,
                row["amount"],
                row["subject_id"],
                checked_at=row["checked_at"],
            ),
            row["age_s"],
        )
        for row in await db.fetch(QUERIES.list_open, store, metric.value)
    ]


async def claim(tx: Transaction, store: UUID, metric: Metric, hold: UUID) -> Hold | None:
    """Take up what is held under an id, so that no sweep and no other attempt does.

    None when it is not held, or was taken up.
    """
    row = await tx.fetchrow(QUERIES.claim_hold, hold, store)
    if row is None:
        return None
    subject, checked_at = row["subject_id"], row["checked_at"]
    return Hold(hold, store, metric, row["amount"], subject, checked_at=checked_at)


async def unclaim(tx: Transaction, wish: Hold) -> None:
    """Let others take up what was claimed. Repeatable."""
    await tx.execute(QUERIES.unclaim_hold, wish.id, wish.checked_at)


async def is_held(db: Transaction, store: UUID, hold: UUID) -> bool:
    """Whether something is held under an id and not settled."""
    return bool(await db.fetchval(QUERIES.is_held, hold, store))


async def take_stale(
    tx: Transaction, metrics: Iterable[Metric], older_than_s: float = STALE_S
) -> list[Hold]:
    """Take up holds of some metrics that whoever made them has forgotten."""
    await tx.execute(QUERIES.forget_settled, MEMORY_S)
    names = [metric.value for metric in metrics]
    return [
        Hold(
            row["id"],
            row["store_id"],
            Metric(row["metric"]),
            row["amount"],
            row["subject_id"],
            checked_at=row["checked_at"],
        )
        for row in await tx.fetch(QUERIES.take_stale, older_than_s, SWEEP_MAX, names)
    ]


async def recount(tx: Transaction, store: UUID, contents: Contents) -> None:
    """Let `contents` be what the store is known to have; nobody may write in it meanwhile.

    Orders of the month count against the plan as before: what came from elsewhere was not sold
    through the platform. What is held of files stays so, for whoever ends it.
    """
    await tx.execute(QUERIES.forget_holds, store)
    await lock_taken(tx, store, Metric.PRODUCTS)  # Whoever holds one now is seen from here on.
    await tx.execute(QUERIES.set_counters, store, contents.products, contents.storage_bytes)
    # The day before the store, as whoever settles locks them.
    await tx.execute(QUERIES.note_totals, store, contents.products, contents.storage_bytes)
    await tx.execute(
        QUERIES.show_counts, store, contents.products, contents.storage_bytes, contents.orders
    )


async def list_doubted(db: Transaction, after: UUID) -> list[tuple[UUID, dt.datetime]]:
    """A page of stores whose products are to be counted anew, by id, each as of an instant."""
    rows = await db.fetch(QUERIES.list_doubted, after, SWEEP_MAX)
    return [(row["store_id"], row["updated_at"]) for row in rows]


async def set_counted(tx: Transaction, store: UUID, products: int, *, as_of: dt.datetime) -> bool:
    """Let a store have so many products; False, and nothing, where some were held after `as_of`."""
    return await tx.fetchval(QUERIES.set_counted, store, as_of, products) is not None


async def count_update(tx: Transaction, store: UUID, products: int = 1) -> None:
    """Note that products of a store were changed."""
    await tx.execute(QUERIES.count_update, store, products)


async def admit_calls(tx: Transaction, calls: Sequence[Call]) -> list[Admitted | BaseException]:
    """Count each call if its store may still call, and write it down.

    For each that may not: NotFound, PlanLimitReached.
    """
    wanted = Counter(call.store for call in calls)
    rows = await tx.fetch(QUERIES.lock_call_counters, list(wanted))
    if len(rows) < len(wanted):
        await tx.execute(QUERIES.ensure_call_counters, list(wanted))
        rows = await tx.fetch(QUERIES.lock_call_counters, list(wanted))
    stores = {row["store_id"]: row for row in rows}
    left = {store: _left(row) for store, row in stores.items()}
    answers: list[Admitted | BaseException] = []
    for call in calls:
        row = stores.get(call.store)
        if row is None or not (call.is_staff or call.caller == row["owner_id"]):
            answers.append(NotFound(what=f"Store {call.store}"))
        elif left[call.store] == 0:
            answers.append(_exhausted(row))
        else:
            left[call.store] -= 1
            answers.append(_admitted(call, row))
    admitted = [answer.call for answer in answers if isinstance(answer, Admitted)]
    if admitted:
        await tx.execute(
            QUERIES.count_calls,
            [call.id for call in admitted],
            [call.store for call in admitted],
            [call.endpoint[:255] for call in admitted],
            [call.method[:10] for call in admitted],
            [call.ip_address for call in admitted],
            [call.user_agent and call.user_agent[:500] for call in admitted],
        )
    return answers


async def finish_calls(tx: Transaction, outcomes: Sequence[Outcome]) -> None:
    """Write down how calls ended; repeatable."""
    await tx.execute(
        QUERIES.finish_calls,
        [outcome.call.call.id for outcome in outcomes],
        [outcome.call.at for outcome in outcomes],
        [outcome.status for outcome in outcomes],
        [outcome.ms for outcome in outcomes],
        [outcome.error and outcome.error[:500] for outcome in outcomes],
    )


async def show_calls(tx: Transaction) -> None:
    """Let the stores say how much they called this month."""
    await tx.execute(QUERIES.show_calls)


async def ensure_partitions(tx: Transaction) -> int:
    """Have partitions for the calls of the coming months; how many were missing."""
    return int(await tx.fetchval(QUERIES.ensure_partitions, PARTITIONS_AHEAD))


async def list_usage(db: Transaction, store: UUID, days: int) -> list[dict[str, Any]]:
    """What a store used on each of the last days, the newest first."""
    return [dict(row) for row in await db.fetch(QUERIES.list_usage, store, days)]


async def measure_usage(db: Transaction, store: UUID) -> dict[str, dict[str, int | None]]:
    """For each metric what is used, and the limit of the plan; None is no limit."""
    used = {row["metric"]: row["used"] for row in await db.fetch(QUERIES.list_counters, store)}
    plan = await db.fetchrow(QUERIES.find_limit, store)
    return {
        metric.value: {
            "used": used.get(metric.value, 0),
            "limit": 0 if plan is None else _limit(plan, metric),
        }
        for metric in Metric
    }


@dataclass(slots=True, eq=False)
class Gate:
    """Where calls of the stores' API are counted: before they are carried out.

    Calls that come at the same time share a commit. How they ended is written down a moment later;
    a process that dies leaves those calls without an ending, but counted.
    """

    master: OpenDatabase
    _batcher: Batcher[Call, Admitted] = field(init=False)
    _outcomes: list[Outcome] = field(default_factory=list)
    _bell: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self._batcher = Batcher(self._admit)

    async def admit(self, call: Call) -> Admitted:
        """Count a call; raises NotFound, PlanLimitReached."""
        admitted = await self._batcher.submit(call)
        await failpoints.reach(ADMITTED)
        return admitted

    def finish(self, outcome: Outcome) -> None:
        """Note how a call ended."""
        self._outcomes.append(outcome)
        if len(self._outcomes) >= OUTCOMES_MAX:
            self._bell.set()

    async def flush(self) -> None:
        """Write down how calls ended."""
        while self._outcomes:
            batch, self._outcomes = self._outcomes[:OUTCOMES_MAX], self._outcomes[OUTCOMES_MAX:]
            try:
                async with self.master.transaction(SERVICE) as tx:
                    await finish_calls(tx, batch)
            except BulkheadError:
                self._outcomes = (batch + self._outcomes)[: 20 * OUTCOMES_MAX]
                raise

    async def run(self) -> None:
        """Write down what there is, again and again, until cancelled."""
        while True:
            try:
                async with asyncio.timeout(FLUSH_S):
                    await self._bell.wait()
            except TimeoutError:
                pass
            self._bell.clear()
            try:
                await self.flush()
            except BulkheadError as error:
                log.warning("the ends of calls could not be written: %s", error)

    async def _admit(self, calls: list[Call]) -> list[Admitted | BaseException]:
        async with self.master.transaction(SERVICE) as tx:
            return await admit_calls(tx, calls)


async def _refusal(tx: Transaction, store: UUID, metric: Metric) -> BulkheadError:
    plan = await tx.fetchrow(QUERIES.find_limit, store)
    if plan is None:
        return PlanLimitReached(plan="none", limit=0, metric=metric.value)
    limit = _limit(plan, metric)
    return PlanLimitReached(plan=plan["plan_name"], limit=limit, metric=metric.value)


def _limit(plan: Mapping[str, Any], metric: Metric) -> int | None:
    column = {
        Metric.PRODUCTS: "max_products",
        Metric.ORDERS: "max_orders_per_month",
        Metric.STORAGE_BYTES: "max_storage_gb",
        Metric.API_CALLS: "max_api_calls_per_month",
    }[metric]
    limit = plan[column]
    if limit is None:
        return None
    return int(limit) * (BYTES_PER_GB if metric is Metric.STORAGE_BYTES else 1)


def _left(row: Mapping[str, Any]) -> int:
    """How many calls are left; a store without a plan still reads within the free one's bounds."""
    limit = row["max_api_calls_per_month"]
    if not row["has_plan"]:
        limit = 1000
    return 2**31 if limit is None else max(limit - row["used"], 0)


def _exhausted(row: Mapping[str, Any]) -> PlanLimitReached:
    limit = row["max_api_calls_per_month"] if row["has_plan"] else 1000
    return PlanLimitReached(
        plan=row["subscription_plan"], limit=limit, metric=Metric.API_CALLS.value
    )


def _admitted(call: Call, row: Mapping[str, Any]) -> Admitted:
    return Admitted(
        call,
        row["at"],
        row["owner_id"],
        row["database_status"],
        row["currency"],
        row["is_active"],
        row["subscription_status"] == "expired",
    )
