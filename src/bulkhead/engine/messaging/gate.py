"""The gate of the inboxes: while it is closed, no database takes anything from another.

A cut over several databases closes it, exports a snapshot in each and opens it again: then no
snapshot holds the effect of an event that another snapshot has not seen. Writers go on, and events
that are published meanwhile wait in their outboxes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.messaging.inbox import GATE_KEY

if TYPE_CHECKING:
    from bulkhead.engine.connections.database import OpenDatabase


@asynccontextmanager
async def closed_gate(databases: Iterable[OpenDatabase]) -> AsyncIterator[None]:
    """Let nothing be received in `databases` inside the block, by whatever process.

    Waits for deliveries in flight; raises LockTimeout when one takes too long, and whatever keeps
    a database from answering. Takes one connection per database; keep the block short.
    """
    async with AsyncExitStack() as stack:
        for database in databases:
            tx = await stack.enter_async_context(database.transaction(SERVICE))
            await tx.execute("select pg_advisory_xact_lock($1)", GATE_KEY)
        yield
