"""Proves from the databases, the files and the answers that what was replayed is what happened."""

from __future__ import annotations

import asyncio
import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from bulkhead.demo.plan import Plan
from bulkhead.demo.replay import Replay
from bulkhead.demo.shop import QUERIES
from bulkhead.engine.clock import monotonic_s
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.monitoring.invariant import Invariant, run_invariants
from bulkhead.engine.monitoring.standard import standard_invariants
from bulkhead.engine.references.sweep import SweepReport, sweep_reference

if TYPE_CHECKING:
    from bulkhead.engine.system import System

REST_S_MAX = 120.0
"""How long events and sagas may take to come to rest after the last request."""
LOOK_EVERY_S = 0.2
EXAMPLES_MAX = 5

Cell = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Proof:
    """Something that was checked, and what came of it."""

    name: str
    holds: bool
    detail: str
    examples: tuple[str, ...] = ()
    """What speaks against it."""
    figures: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sums:
    """What one month and country, or everything, comes to."""

    orders: int = 0
    units: int = 0
    revenue: Decimal = Decimal(0)

    def __add__(self, other: Sums) -> Sums:
        return Sums(
            self.orders + other.orders, self.units + other.units, self.revenue + other.revenue
        )

    def __str__(self) -> str:
        return f"{self.orders} orders, {self.units} units, {self.revenue:.2f}"


async def come_to_rest(system: System) -> bool:
    """Wait until no event waits to be delivered and no saga is at work; False when it lasts."""
    deadline_s = monotonic_s() + REST_S_MAX
    while monotonic_s() < deadline_s:
        if not await _count_busy(system):
            return True
        await asyncio.sleep(LOOK_EVERY_S)
    return False


async def count_events(system: System) -> dict[str, int]:
    """Events and deliveries over all databases."""
    totals = {"published": 0, "received": 0, "waiting": 0, "dead": 0}
    for database in system.router:
        async with database.transaction(SERVICE, read_only=True) as tx:
            row = await tx.fetchrow(QUERIES.count_events)
        assert row is not None, "a select of counts returns a row"
        totals = {name: count + row[name] for name, count in totals.items()}
    return totals


async def sweep_all(system: System) -> list[SweepReport]:
    """Compare both sides of every reference between the databases."""
    topology = system.application.topology
    return [
        await sweep_reference(system.router, topology, reference, restart=True)
        for reference in topology.references
    ]


def prove_answers(plan: Plan, replay: Replay) -> Iterator[Proof]:
    """Every request got a definite answer, refusals have a reason, repeats change nothing."""
    failed = [f"{key}: {answer.status} {answer.code}" for key, answer in replay.failed.items()]
    unanswered = [order.key for order in plan.orders if order.key not in replay.answers]
    yield _proof(
        "every order was either confirmed or refused for want of stock",
        f"{len(replay.placed)} and {len(replay.refused)}",
        [*failed, *unanswered],
    )
    yield _proof(
        "only what was short on purpose was refused",
        f"{len(replay.refused)} refusals name it",
        [key for key, answer in replay.refused.items() if not _is_short(plan, answer.body)],
    )
    yield _proof(
        "a repeated request gets the first answer",
        f"{len(replay.repeats)} repeats",
        replay.differing,
    )
    yield _proof(
        "every order that was to be cancelled as a whole was",
        f"{len(replay.cancelled)} orders",
        replay.cancellations_failed,
    )


async def prove_revenue(system: System, plan: Plan, replay: Replay) -> list[Proof]:
    """What the databases hold is what the replayed invoices say, to the penny."""
    expected = file_sums(plan, replay.placed - replay.cancelled)
    async with system.database("orders").transaction(SERVICE, read_only=True) as tx:
        rows = await tx.fetch(QUERIES.sum_orders)
    found = {
        (row["month"], row["country"]): Sums(row["orders"], int(row["units"]), row["revenue"])
        for row in rows
    }
    total = sum(expected.values(), Sums())
    return [
        _proof(
            "revenue per month and country is what the invoices add up to",
            f"{len(expected)} sums, {total}",
            [
                f"{' '.join(cell)}: file {expected.get(cell)}, database {found.get(cell)}"
                for cell in sorted(expected.keys() | found.keys())
                if expected.get(cell) != found.get(cell)
            ],
        ),
        await _prove_payments(system, total.revenue, sum(row["charged"] for row in rows)),
    ]


async def prove_rest(system: System, *, at_rest: bool) -> list[Proof]:
    """Events are delivered, references resolve, invariants hold."""
    events = await count_events(system)
    sweeps = await sweep_all(system)
    swept = {
        "references": len(sweeps),
        "rows": sum(sweep.rows_checked for sweep in sweeps),
        "orphans": sum(sweep.orphans for sweep in sweeps),
    }
    invariants = (*standard_invariants(system.application.topology), *_own_invariants(system))
    report = await run_invariants(system.router, invariants)
    delivered = _proof(
        "every event was delivered",
        f"{events['published']} events, {events['received']} deliveries",
        [] if at_rest and not events["waiting"] else [f"{events} after {REST_S_MAX:.0f} s"],
    )
    resolved = _proof(
        "no reference between the databases is broken",
        f"{swept['rows']} rows of {swept['references']} references, {swept['orphans']} orphans",
        [
            f"{sweep.reference}: {sweep.orphans} orphans, {sweep.coverage:.0%} checked"
            for sweep in sweeps
            if sweep.orphans or sweep.coverage < 1
        ],
    )
    return [
        replace(delivered, figures=events),
        replace(resolved, figures=swept),
        _proof(
            "all invariants hold",
            ", ".join(invariant.code for invariant in invariants),
            str(report).splitlines() if not report.holds else [],
        ),
    ]


def file_sums(plan: Plan, keys: set[str]) -> dict[Cell, Sums]:
    """What the orders with these keys come to by the file, by month and country."""
    sums: defaultdict[Cell, Sums] = defaultdict(Sums)
    for order in plan.orders:
        if order.key in keys:
            sums[order.month, order.country] += Sums(1, order.units, order.total)
    return dict(sums)


def _own_invariants(system: System) -> Sequence[Invariant]:
    standard = {invariant.code for invariant in standard_invariants(system.application.topology)}
    return [each for each in system.application.invariants if each.code not in standard]


async def _prove_payments(system: System, revenue: Decimal, totals: Decimal) -> Proof:
    """The invoices, the orders, their payments and the books of the payment company agree."""
    async with system.database("orders").transaction(SERVICE, read_only=True) as tx:
        row = await tx.fetchrow(QUERIES.sum_payments)
    assert row is not None, "a select of sums returns a row"
    charged, refunded = await asyncio.to_thread(
        _company_books, system.settings.home / "local-payments.sqlite"
    )
    kept = {
        "invoices": revenue,
        "totals of the orders": totals,
        "payments": row["captured"] - row["refunded"],
        "refunds": row["captured"] - row["returned"],
        "the payment company": charged - refunded,
    }
    return _proof(
        "the payment company charged that and not a penny more",
        f"{charged:.2f} charged, {refunded:.2f} given back",
        [] if len(set(kept.values())) == 1 else [f"{kept}"],
    )


def _company_books(path: Path) -> tuple[Decimal, Decimal]:
    with closing(sqlite3.connect(path)) as books:
        charges = books.execute(QUERIES.list_charged).fetchall()
        refunds = books.execute(QUERIES.list_refunded).fetchall()
    return (
        sum((Decimal(amount) for (amount,) in charges), Decimal(0)),
        sum((Decimal(amount) for (amount,) in refunds), Decimal(0)),
    )


async def _count_busy(system: System) -> int:
    busy = 0
    for database in system.router:
        async with database.transaction(SERVICE, read_only=True) as tx:
            events = await tx.fetchrow(QUERIES.count_events)
            assert events is not None, "a select of counts returns a row"
            busy += events["waiting"] - events["dead"]
            busy += await tx.fetchval(QUERIES.count_unfinished_sagas)
    return busy


def _is_short(plan: Plan, problem: Mapping[str, Any]) -> bool:
    lines = problem.get("lines", [])
    return bool(lines) and all(
        UUID(line["variant_id"]) in plan.short and line["available"] < line["quantity"]
        for line in lines
    )


def _proof(name: str, detail: str, against: Sequence[str]) -> Proof:
    return Proof(name, not against, detail, tuple(against[:EXAMPLES_MAX]))
