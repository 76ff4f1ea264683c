"""What becomes of rows: make some, let the service work on them, and read what stands there then.

Policies for the owner of the tables serve nobody but triggers. When such a policy is missing, a
trigger may do nothing without a word, and only the rows tell.
"""

from collections.abc import Mapping
from itertools import count

import asyncpg

from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.connections.sql import identifier, literal
from bulkhead.engine.drivers.errors import translate
from bulkhead.engine.ids import derive_id
from bulkhead.engine.schema.introspect import Connection
from bulkhead.engine.schema.probes.rows import SampleBook, SampleRow, Target
from bulkhead.engine.schema.probes.run import ProbeSession, make_rows, undone

USERS = (derive_id("probe user", "carol"), derive_id("probe user", "dave"))
NUMBERS_FROM = 10_000
"""Users and numbers of rows that must not collide with those that are there."""

State = Mapping[tuple[str, ...], str | None]
"""Values by table, case, user and column."""


async def try_rows(session: ProbeSession) -> State:
    """Make rows of new users, run the acts, and read the rows; all of it is undone.

    Raises SampleImpossible or a translated error where that is not possible.
    """
    book = SampleBook(session.book.targets, session.book.samples, USERS, count(NUMBERS_FROM))
    connection = session.connection
    async with undone(connection):
        await make_rows(connection, book)
        try:
            await connection.execute(
                "set local role service_role;"
                f"set local request.jwt.claims = {literal(SERVICE.json)}"
            )
            for act in book.samples.acts:
                await connection.execute(act)
            await connection.execute("reset role")
        except asyncpg.PostgresError as error:
            raise translate(error) from error
        return await _read(connection, book)


async def _read(connection: Connection, book: SampleBook) -> State:
    state: dict[tuple[str, ...], str | None] = {}
    for target in book.targets.values():
        rows = [row for row in book.rows.values() if row.table == target.table.name]
        if rows:
            state |= await _read_table(connection, target, rows)
    return state


async def _read_table(
    connection: Connection, target: Target, rows: list[SampleRow]
) -> dict[tuple[str, ...], str | None]:
    listed = ", ".join(
        f"{identifier(name)}::text as {identifier(name)}" for name in target.relation.columns
    )
    keys = {tuple(row.values[name] for name in target.table.key): row for row in rows}
    tuples = ", ".join(
        f"({', '.join(target.typed(*pair) for pair in zip(target.table.key, key, strict=True))})"
        for key in keys
    )
    names = ", ".join(identifier(name) for name in target.table.key)
    found = await connection.fetch(
        f"select {listed} from {target.name} where ({names}) in ({tuples})"
    )
    state: dict[tuple[str, ...], str | None] = {}
    for values in found:
        row = keys[tuple(values[name] for name in target.table.key)]
        place = (row.table, row.case.name, str(row.user))
        state |= {(*place, name): value for name, value in dict(values).items()}
    return state
