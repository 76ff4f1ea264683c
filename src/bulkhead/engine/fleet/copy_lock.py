"""Who brings rows into a tenant does so alone, whatever process it is in.

A lock of a session of its own in the registry's database keeps the others out. It is gone with the
process, so that whoever repeats what was interrupted need not wait. A restart of the registry's
server ends it, too; then only the transaction that replaces the rows keeps two of them apart.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

from bulkhead.engine.connections.claims import Role
from bulkhead.engine.connections.database import OpenDatabase
from bulkhead.engine.connections.queries import load_queries
from bulkhead.engine.drivers.errors import FAILURES, translate
from bulkhead.engine.errors import Conflict
from bulkhead.engine.fleet.model import TenantId

QUERIES: Final = load_queries(__package__, "copy_lock.sql")
LOCK_TIMEOUT_S: Final = 5.0


class CopyUnderway(Conflict):
    """Rows are coming into tenant {tenant} already."""

    code = "copy_underway"
    hint = "Wait until that has ended, and look whether anything is left to bring."


@asynccontextmanager
async def copying_alone(registry: OpenDatabase, tenant: TenantId) -> AsyncIterator[None]:
    """Let nobody else bring rows into the tenant until the block ends.

    Raises CopyUnderway while somebody does, and what keeps the registry away.
    """
    connection = await registry.connect_directly(Role.SERVICE)
    try:
        try:
            is_alone = await connection.fetchval(QUERIES.lock_copy, tenant, timeout=LOCK_TIMEOUT_S)
        except FAILURES as error:
            raise translate(error) from error
        if not is_alone:
            raise CopyUnderway(tenant=tenant)
        try:
            yield
        finally:
            with suppress(*FAILURES):  # The session's end would do so, too, but a moment later.
                await connection.execute(QUERIES.unlock_copies, timeout=LOCK_TIMEOUT_S)
    finally:
        connection.terminate()
