"""Two databases of one table each on an embedded server of their own; durable as in life.

Other programs get at them, and at the server, as the administrator over the same Unix socket.
"""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from bulkhead.engine.application import Application
from bulkhead.engine.connections.admin import administer, url_of
from bulkhead.engine.settings import Settings
from bulkhead.engine.system import System, open_system
from bulkhead.engine.topology import Database, Table, Topology

TABLES = {"alpha": "withdrawals", "beta": "deposits"}
CREATE = """-- The only table of this database.
create table public.{table} (
  id uuid primary key,
  account text not null,
  amount integer not null,
  created_at timestamptz not null default now()
);
alter table public.{table} enable row level security;
alter table public.{table} force row level security;

-- migrate:down
drop table public.{table};
"""
INSERT = {
    name: f"insert into {table} (id, account, amount) values ($1, $2, $3)"
    for name, table in TABLES.items()
}


@asynccontextmanager
async def open_pair(*, size: int = 16, **declared: Any) -> AsyncIterator[System]:  # noqa: ANN401
    """Open an application `pair` that is `declared` as given; no workers run."""
    with tempfile.TemporaryDirectory(prefix="bulkhead-bench-") as folder:
        Path(folder).chmod(0o755)
        databases = []
        for name, table in TABLES.items():
            migrations = Path(folder) / name
            migrations.mkdir()
            (migrations / "0001_table.sql").write_text(CREATE.format(table=table))
            databases.append(Database(name, (Table(table),), migrations))
        topology = Topology("pair", tuple(databases))
        settings = Settings(home=Path(folder) / "home", pool_size=size, server_connections=80)
        application = Application("pair", "Pair", topology, **declared)
        async with open_system(application, settings) as system:
            yield system


async def socket_url(system: System, database: str, *, physical: str | None = None) -> str:
    """The administrator's URL of a database, or of another one of the server, over the socket."""
    place = system.database(database)
    async with administer(place) as connection:
        folder = await connection.fetchval("show unix_socket_directories")
        port = await connection.fetchval("show port")
    login = urlsplit(url_of(place, "admin")).netloc.rpartition("@")[0]
    return f"postgresql://{login}@/{physical or place.spec.name}?host={quote(folder)}&port={port}"


async def count_rows(system: System, database: str) -> int:
    """How many rows the table of `database` has."""
    async with administer(system.database(database)) as connection:
        count: int = await connection.fetchval(f"select count(*) from {TABLES[database]}")
    return count
