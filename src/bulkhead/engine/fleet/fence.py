"""Keep everybody out of a tenant's database but those who work on it.

The registry tells each process that the tenant is closed; a fence makes it true whatever a process
has heard: the logins lose their right to connect, sessions that do nothing end at once, and those
in the middle of something get a moment to finish.
"""

from __future__ import annotations

import asyncio
from typing import Final

from bulkhead.engine.clock import monotonic_s
from bulkhead.engine.connections.queries import load_queries
from bulkhead.engine.connections.sql import identifier
from bulkhead.engine.drivers.protocol import Dialect, Login, Provider
from bulkhead.engine.fleet.owner import Managed

QUERIES: Final = load_queries(__package__, "fence.sql")
DRAIN_S: Final = 5.0
POLL_S: Final = 0.005
LOCK: Final = "select pg_catalog.pg_advisory_xact_lock(1718971235)"
"""Of several who open and close one database at once, the server would refuse all but one."""


async def fence(managed: Managed, *, drain_s: float = DRAIN_S) -> None:
    """Let nobody in, and have nobody inside when this returns; safe to repeat."""
    if managed.driver.dialect is Dialect.MYSQL:
        await managed.driver.seal_template(managed.spec)
        return
    logins = _logins(managed)
    deadline_s = monotonic_s() + drain_s
    async with managed.administer() as admin:
        await admin.execute(f"{LOCK};{_statement(managed, admits=False)}")
        while True:
            is_late = monotonic_s() > deadline_s
            if not await admin.fetchval(QUERIES.end_sessions, logins, is_late):
                return
            await asyncio.sleep(POLL_S)


async def open_again(managed: Managed) -> None:
    """Take the fence away; safe to repeat."""
    if managed.driver.dialect is Dialect.MYSQL:
        await managed.driver.seal_template(managed.spec, sealed=False)
        return
    async with managed.administer() as admin:
        await admin.execute(f"{LOCK};{_statement(managed, admits=True)}")


def _statement(managed: Managed, *, admits: bool) -> str:
    """What lets the logins in, or does so no more.

    Where a provider's own roles share the database, everybody may connect to it, so that the logins
    themselves are closed.
    """
    logins = [identifier(login) for login in _logins(managed)]
    if isinstance(managed.driver, Provider):
        word = "login" if admits else "nologin"
        return ";".join(f"alter role {login} {word}" for login in logins)
    name, quoted = identifier(managed.spec.name), ", ".join(logins)
    if admits:
        return f"grant connect on database {name} to {quoted}"
    return f"revoke connect on database {name} from {quoted}"


def _logins(managed: Managed) -> list[str]:
    return [managed.spec.login(login) for login in (Login.CLIENT, Login.SERVICE)]
