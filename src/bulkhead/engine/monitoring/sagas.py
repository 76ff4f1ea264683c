"""Whether every saga ends, and ends as a whole."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING
from uuid import UUID

from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.connections.queries import load_queries
from bulkhead.engine.messaging.saga import SagaState
from bulkhead.engine.monitoring.invariant import VIOLATIONS_MAX, Violation

if TYPE_CHECKING:
    from bulkhead.engine.connections.database import OpenDatabase
    from bulkhead.engine.connections.router import Router

QUERIES = load_queries(__package__)

PAGE_ROWS = 5000
GRACE_S = 300.0
"""How long after its deadline a saga may still be at work."""


async def find_unfinished(router: Router, grace_s: float = GRACE_S) -> list[Violation]:
    """Sagas that are neither completed, compensated nor waiting for a person in time."""
    found: list[Violation] = []
    for database in router:
        async with database.transaction(SERVICE, read_only=True) as tx:
            rows = await tx.fetch(QUERIES.unfinished_sagas, grace_s, VIOLATIONS_MAX)
        found += [
            Violation(
                f"{database.name}.sagas {row['id']}",
                f"'{row['name']}' is {row['state']} {row['overdue_s']:.0f} s after its deadline",
            )
            for row in rows
        ]
    return found


async def find_half_done(router: Router, grace_s: float = GRACE_S) -> list[Violation]:
    """Steps whose marker contradicts the end of their saga, in whatever database they ran.

    Of a completed saga nothing was taken back; of one that was compensated `grace_s` ago,
    everything.
    """
    found: list[Violation] = []
    for home in router:
        pages = _ended(home, grace_s)
        async with aclosing(pages):
            async for page in pages:
                for state, wrong in (
                    (SagaState.COMPLETED, "undone"),
                    (SagaState.COMPENSATED, "done"),
                ):
                    ids = [saga_id for saga_id, ended in page.items() if ended is state]
                    found += await _find_steps(router, ids, state, wrong)
    return found


async def _ended(
    home: OpenDatabase, grace_s: float
) -> AsyncGenerator[Mapping[UUID, SagaState], None]:
    after = UUID(int=0)
    while True:
        async with home.transaction(SERVICE, read_only=True) as tx:
            rows = await tx.fetch(QUERIES.ended_sagas, after, grace_s, PAGE_ROWS)
        if not rows:
            return
        yield {row["id"]: SagaState(row["state"]) for row in rows}
        after = rows[-1]["id"]


async def _find_steps(
    router: Router, ids: list[UUID], state: SagaState, wrong: str
) -> list[Violation]:
    found: list[Violation] = []
    for database in router if ids else ():
        async with database.transaction(SERVICE, read_only=True) as tx:
            rows = await tx.fetch(QUERIES.steps_in_state, ids, wrong)
        found += [
            Violation(
                f"{database.name}.saga_steps {row['saga_id']}",
                f"step '{row['step']}' is {wrong} although the saga is {state}",
            )
            for row in rows
        ]
    return found
