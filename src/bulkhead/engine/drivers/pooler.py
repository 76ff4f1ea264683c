"""What a pooler says in its own name, and which kind of pooler stands in front of a server.

PgBouncer reports whatever it refuses itself with SQLSTATE 08P01, so that only the words tell a
full pool from a wrong password. Source: PgBouncer 1.18 and 1.25, `src/client.c`, `src/objects.c`.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Any, Final

import asyncpg

PROBE_TIMEOUT_S: Final = 2.0
PROTOCOL_VIOLATION: Final = "08P01"


class Pooling(StrEnum):
    """What stands between a client and the server's sessions."""

    NONE = "none"
    SESSION = "session"
    """A session belongs to a client for as long as the client is connected."""
    TRANSACTION = "transaction"
    """A session belongs to a client for one transaction, and to another one next."""


class Word(StrEnum):
    """What a pooler refused, by how it begins to say so."""

    WAITED = "query_wait_timeout"
    FAILING = "server login has been failing"
    LOGIN = "SASL authentication failed"
    PASSWORD = "password authentication failed"  # noqa: S105 - what it says
    USER = "no such user"
    DATABASE = "no such database"
    CLIENTS = "no more connections allowed"
    SETTING = "unsupported startup parameter"


def pooler_word(error: BaseException) -> Word | None:
    """What a pooler has refused with `error`, None where the error is not a pooler's.

    A refusal that meets a statement ends the connection; asyncpg keeps it as the cause.
    """
    for each in (error, error.__cause__):
        if isinstance(each, asyncpg.PostgresError) and each.sqlstate == PROTOCOL_VIOLATION:
            text = str(each)
            return next((word for word in Word if text.startswith(word)), None)
    return None


async def probe_pooling(
    client: Any,  # noqa: ANN401
    connect: Callable[[], Awaitable[Any]],
) -> Pooling:
    """Find out how sessions are shared on the way of `client`, which is in no transaction.

    `connect` opens another connection on the same way. While its transaction holds one session, a
    client that has no session of its own is given another one, or none at all.
    """
    first = await client.fetchval(_PID, timeout=PROBE_TIMEOUT_S)
    if first == client.get_server_pid():
        return Pooling.NONE
    other = await connect()
    try:
        if not await _holds_session(other):
            return Pooling.TRANSACTION  # Not even that: a session lasts for one statement.
        for _ in range(2):
            if await client.fetchval(_PID, timeout=PROBE_TIMEOUT_S) != first:
                return Pooling.TRANSACTION
    except (TimeoutError, asyncpg.PostgresError):
        return Pooling.TRANSACTION
    finally:
        other.terminate()
    return Pooling.SESSION


async def keeps_statements(client: Any, *, timeout_s: float) -> bool:  # noqa: ANN401
    """Whether a pooler lets each client have prepared statements of its own.

    One that does (PgBouncer from 1.21 on, `max_prepared_statements`) gives them names of its own,
    and prepares them again in whichever session comes next. Elsewhere the name stays in a session
    that is another client's next, whose statement of that name would be ours.
    """
    name = f"bulkhead_{secrets.token_hex(8)}"
    await client.execute("begin", timeout=timeout_s)
    statement = await client.prepare(_IS_PREPARED, name=name, timeout=timeout_s)
    passed_on: bool = await statement.fetchval(name, timeout=timeout_s)
    forget = f";deallocate {name}" if passed_on else ""
    await client.execute(f"commit{forget}", timeout=timeout_s)
    return not passed_on


async def _holds_session(other: Any) -> bool:  # noqa: ANN401
    """Begin a transaction; False where there are none.

    Where all sessions are taken it waits in vain. Then the client is asked what it has.
    """
    try:
        await other.execute("begin", timeout=PROBE_TIMEOUT_S)
    except TimeoutError:
        return True
    except asyncpg.PostgresError as error:
        return pooler_word(error) is Word.WAITED
    return True


_IS_PREPARED = (
    "select exists (select from pg_catalog.pg_prepared_statements where name operator(pg_catalog.=)"
    " $1::pg_catalog.text)"
)
_PID = "select pg_catalog.pg_backend_pid()"
