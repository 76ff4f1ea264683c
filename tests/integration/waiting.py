"""Whether somebody waits for a transaction, so that what happens meanwhile is certain."""

import asyncio
from typing import Any

from bulkhead.engine.connections.transaction import Transaction

# Of all views of who is there, this one is looked at anew within a transaction.
BLOCKED = """
select exists (
  select
  from pg_locks
  where not granted
    and pg_backend_pid() = any (pg_blocking_pids(pid))
)
"""


async def until_it_waits(task: asyncio.Task[Any], tx: Transaction) -> None:
    """Return once `task` waits for what `tx` has locked, or is done."""
    while not task.done() and not await tx.fetchval(BLOCKED):
        """Whoever begins to wait is seen by the next look."""
