"""Whether events and sagas move."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.connections.queries import load_queries
from bulkhead.engine.messaging.backlog import list_backlog
from bulkhead.engine.monitoring.findings import Finding, Level

if TYPE_CHECKING:
    from bulkhead.engine.connections.database import OpenDatabase

QUERIES = load_queries(__package__)

LATE_S = 60.0
"""An event that waits for longer is late."""


async def check_flows(database: OpenDatabase) -> list[Finding]:
    """Findings about the outbox and the sagas of one database."""
    async with database.transaction(SERVICE, read_only=True) as tx:
        backlog = await list_backlog(tx)
        sagas = {row["state"]: row["count"] for row in await tx.fetch(QUERIES.open_sagas)}
    findings = []
    waiting = sum(each.waiting - each.dead for each in backlog)
    for each in backlog:
        if each.dead:
            detail = f"{each.dead} dead letters for '{each.handler}' hold back what follows them"
            remedy = "See why, then deliver or discard them: bulkhead event dead list."
            findings.append(Finding(Level.WARNING, "dead_letters", database.name, detail, remedy))
        elif each.oldest_s > LATE_S:
            detail = f"{each.waiting} events wait for '{each.handler}', since {each.oldest_s:.0f} s"
            remedy = "Check that a worker runs and that its database answers: bulkhead worker."
            findings.append(Finding(Level.WARNING, "events_late", database.name, detail, remedy))
    if count := sagas.get("needs_human"):
        detail = f"{count} sagas can neither go on nor be taken back by themselves"
        remedy = "Decide about each: bulkhead saga list --state needs_human."
        findings.append(Finding(Level.WARNING, "sagas_need_human", database.name, detail, remedy))
    if not findings:
        running = sum(sagas.values())
        detail = f"{waiting} events waiting, {running} sagas under way"
        findings.append(Finding(Level.OK, "flows_moving", database.name, detail))
    return findings
