"""Databases that somebody else made on MySQL: adopted when they are empty or ours, never made.

Whoever runs the server gave a user for one database. What that user may do is tried, and whatever
is made for it is dropped again, also what a broken attempt has left.
"""

import hashlib
import secrets

from bulkhead.engine.drivers.errors import CapabilityMissing, DatabaseForeign, PermissionDenied
from bulkhead.engine.drivers.mysql_bootstrap import (
    MARK_TABLE,
    TIMEOUT_S,
    read_database,
    read_mark,
    server_lock,
    write_mark,
)
from bulkhead.engine.drivers.mysql_connection import MysqlConnection
from bulkhead.engine.drivers.mysql_probe import PROBE_TABLE
from bulkhead.engine.drivers.mysql_sql import quote_name

RIGHTS = "CREATE, ALTER, DROP, INDEX, REFERENCES, SELECT, INSERT, UPDATE and DELETE"


async def adopt_database(connection: MysqlConnection, server: str, name: str, mark: str) -> None:
    """Mark the database `name` with `mark`, where it is empty or has it already.

    Raises DatabaseForeign for one that has tables or another mark, CapabilityMissing for a user
    that may not do what is needed. A repeat does nothing.
    """
    lock = "bulkhead adopts " + hashlib.sha256(name.encode()).hexdigest()[:32]
    async with server_lock(connection, lock):
        await verify_rights(connection, server, name)
        await _take(connection, server, name, mark)


async def release_database(connection: MysqlConnection, name: str, mark: str) -> None:
    """Take the mark away again; nothing happens where it is another or none."""
    facts = await read_database(connection, name)
    if facts.mark == mark and await read_mark(connection, name) == mark:
        await _run(connection, f"drop table if exists {quote_name(name)}.{MARK_TABLE}")


async def verify_rights(connection: MysqlConnection, server: str, name: str) -> None:
    """Try what the schema of a tenant needs in the database `name`; raises CapabilityMissing."""
    database = quote_name(name)
    await _drop_leftovers(connection, name)
    table = f"{database}.{PROBE_TABLE}{secrets.token_hex(4)}"
    attempts = (
        f"create table {table} (id integer primary key, other integer) engine = innodb",
        f"alter table {table} add column name varchar(10)",
        f"create index probe on {table} (name)",
        f"alter table {table} add foreign key (other) references {table} (id)",
        f"insert into {table} (id) values (1)",
        f"update {table} set name = 'x' where id = 1",
        f"select id, name from {table} for update",
        f"delete from {table} where id = 1",
        f"drop table {table}",
    )
    try:
        for attempt in attempts:
            await _run(connection, attempt)
    except PermissionDenied as error:
        raise CapabilityMissing(
            server=server,
            capability=f"the rights to change database '{name}'",
            remedy=f"Grant the user {RIGHTS} on it.",
        ) from error
    finally:
        if not connection.is_closed():
            await _drop_leftovers(connection, name)


async def _take(connection: MysqlConnection, server: str, name: str, mark: str) -> None:
    facts = await read_database(connection, name)
    if facts.mark == mark:
        return
    if facts.mark is None and facts.tables:
        raise DatabaseForeign(server=server, database=name, reason="it has tables already")
    if facts.mark is None:
        await write_mark(connection, name, mark)
        # Another process may have been quicker.
        facts = await read_database(connection, name)
    if facts.mark != mark:
        raise DatabaseForeign(server=server, database=name, reason="somebody has adopted it")


async def _drop_leftovers(connection: MysqlConnection, name: str) -> None:
    rows = await connection.fetch(
        "select table_name as name from information_schema.tables "
        "where table_schema = %s and table_name like %s",
        (name, PROBE_TABLE.replace("_", r"\_") + "%"),
        timeout_s=TIMEOUT_S,
    )
    for table in [str(row["name"]) for row in rows]:
        try:
            await _run(connection, f"drop table if exists {quote_name(name)}.{quote_name(table)}")
        except PermissionDenied:
            return  # The attempt to drop the next one says so.


async def _run(connection: MysqlConnection, sql: str) -> None:
    await connection.execute(sql.replace("%", "%%"), (), timeout_s=TIMEOUT_S)
