"""The check that no connection can pass over row level security."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bulkhead.engine.connections.claims import ANON, SERVICE
from bulkhead.engine.connections.queries import load_queries
from bulkhead.engine.errors import BulkheadError

if TYPE_CHECKING:
    from bulkhead.engine.connections.database import OpenDatabase

QUERIES = load_queries(__package__, "roles.sql")


class RoleUnsafe(BulkheadError):
    """Database '{database}' will not be served through role '{role}': {reason}."""

    code = "role_unsafe"
    hint = "Give the login only what it needs: bulkhead doctor shows what it has."


async def verify_roles(database: OpenDatabase) -> None:
    """Check both logins of `database`; raises RoleUnsafe.

    The client login may become `anon` and `authenticated`, the service login `service_role`, and
    neither anything else. None of them may be a superuser, replicate or make roles, and the
    client's may not have BYPASSRLS or own a table.
    """
    async with database.transaction(ANON, read_only=True) as tx:
        for row in await tx.fetch(QUERIES.client_dangers):
            raise RoleUnsafe(database=database.name, role=row["role"], reason=row["reason"])
    async with database.transaction(SERVICE, read_only=True) as tx:
        for row in await tx.fetch(QUERIES.service_dangers):
            raise RoleUnsafe(database=database.name, role=row["role"], reason=row["reason"])
