"""Supabase projects on this machine for tests: each is a PostgreSQL of its own.

Roles, schemas and rights are those that Supabase's own image begins with (repository
`supabase/postgres`, `migrations/db`): `postgres` is no superuser, `auth` belongs to somebody else,
and there is one database. What is missing: its extensions and `supautils`, which are not in the
embedded server. All listen on one port, each on an address of its own in 127.0.0.0/8.
"""

import asyncio
import contextlib
import secrets
import shutil
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import asyncpg

from bulkhead.engine.clock import monotonic_s
from bulkhead.engine.drivers.embedded_install import (
    Account,
    Installation,
    choose_account,
    installation_for,
)
from bulkhead.engine.drivers.embedded_server import free_port

SUPERUSER = "supabase_admin"
START_TIMEOUT_S = 30.0
POLL_S = 0.01
HBA = "local all all scram-sha-256\nhost all all 127.0.0.0/8 scram-sha-256\n"
SETTINGS = (
    "fsync=off",
    "shared_buffers=16MB",
    "io_method=sync",  # Else each project starts workers that read for nobody.
    "max_connections=60",
    "wal_level=logical",
    "logging_collector=off",
    "password_encryption=scram-sha-256",
)
SCHEMA = """
create role anon nologin noinherit;
create role authenticated nologin noinherit;
create role service_role nologin noinherit bypassrls;
create role authenticator login noinherit;
create role supabase_auth_admin login noinherit createrole;
create role postgres login nosuperuser createdb createrole replication bypassrls;
grant anon, authenticated, service_role to authenticator;
grant anon, authenticated, service_role to postgres with admin option;
alter role anon set statement_timeout = '3s';
alter role authenticated set statement_timeout = '8s';
alter database postgres owner to postgres;
alter database postgres set search_path = "$user", public, extensions;
create publication supabase_realtime;

grant usage on schema public to postgres, anon, authenticated, service_role;
alter default privileges for role postgres in schema public
  grant all on tables to anon, authenticated, service_role;
alter default privileges for role postgres in schema public
  grant all on functions to anon, authenticated, service_role;
alter default privileges for role postgres in schema public
  grant all on sequences to anon, authenticated, service_role;

create schema extensions;
grant all on schema extensions to postgres;
grant usage on schema extensions to anon, authenticated, service_role;
create function extensions.uuid_generate_v4() returns uuid language sql
  as 'select pg_catalog.gen_random_uuid()';

create schema auth;
grant all on schema auth to postgres, supabase_auth_admin;
grant usage on schema auth to anon, authenticated, service_role;
create table auth.users (id uuid primary key, email text unique);
alter table auth.users owner to supabase_auth_admin;
create function auth.jwt() returns jsonb language sql stable as $$
  select coalesce(
    nullif(current_setting('request.jwt.claim', true), ''),
    nullif(current_setting('request.jwt.claims', true), '')
  )::jsonb
$$;
create function auth.uid() returns uuid language sql stable as $$
  select coalesce(
    nullif(current_setting('request.jwt.claim.sub', true), ''),
    nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub'
  )::uuid
$$;
create function auth.role() returns text language sql stable as $$
  select coalesce(
    nullif(current_setting('request.jwt.claim.role', true), ''),
    nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'role'
  )
$$;
create function auth.email() returns text language sql stable as $$
  select coalesce(
    nullif(current_setting('request.jwt.claim.email', true), ''),
    nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'email'
  )
$$;
alter function auth.jwt() owner to supabase_auth_admin;
alter function auth.uid() owner to supabase_auth_admin;
alter function auth.role() owner to supabase_auth_admin;
alter function auth.email() owner to supabase_auth_admin;
"""


ABSENT = "this machine has one loopback address only, and each project needs its own"


class ProjectFailed(Exception):
    """The server of a project did not start."""


@dataclass(slots=True, eq=False)
class Cluster:
    """The PostgreSQL of one project."""

    home: Path
    address: str
    port: int
    superuser_password: str
    machines: "Machines" = field(repr=False)
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    async def start(self) -> None:
        """Start it and wait until it answers; raises ProjectFailed."""
        machines = self.machines
        options = [f"listen_addresses={self.address}", f"port={self.port}", *SETTINGS]
        options += [f"unix_socket_directories={self.home}"]
        with (self.home / "log").open("ab") as log:
            self._process = subprocess.Popen(  # noqa: ASYNC220, S603 - takes a moment; our own
                [
                    str(machines.installation.program("postgres")),
                    *("-D", str(self.home / "data")),
                    *(word for option in options for word in ("-c", option)),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                cwd=self.home,
                **machines.account.spawn,
            )
        deadline_s = monotonic_s() + START_TIMEOUT_S
        while monotonic_s() < deadline_s and self.is_running:
            with contextlib.suppress(OSError, asyncpg.PostgresError):
                async with self.look():
                    return
            await asyncio.sleep(POLL_S)
        raise ProjectFailed((self.home / "log").read_text(errors="replace")[-2000:])

    def stop(self) -> None:
        """Kill it, as a machine that is gone."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait()
            self._process = None

    @property
    def is_running(self) -> bool:
        """Whether there is a server."""
        return self._process is not None and self._process.poll() is None

    @asynccontextmanager
    async def look(self) -> AsyncIterator[Any]:
        """A superuser's connection."""
        connection = await asyncpg.connect(
            host=self.address,
            port=self.port,
            user=SUPERUSER,
            password=self.superuser_password,
            database="postgres",
            ssl=False,
            timeout=5,
        )
        try:
            yield connection
        finally:
            connection.terminate()

    async def set_password(self, password: str) -> None:
        """Give `postgres` another password."""
        async with self.look() as admin:
            quoted = password.replace("'", "''")
            await admin.execute(f"alter role postgres password '{quoted}'")


@dataclass(slots=True, eq=False)
class Machines:
    """Makes clusters, each a copy of one that was set up once."""

    home: Path
    installation: Installation
    account: Account
    superuser_password: str
    port: int
    clusters: list[Cluster] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))

    async def make(self, password: str) -> Cluster:
        """A running cluster, whose `postgres` has `password`."""
        number = next(self._numbers)
        home = self.home / f"project{number}"
        home.mkdir(mode=0o755)
        self.account.own(home)
        address = f"127.77.{number // 250}.{number % 250 + 1}"
        cluster = Cluster(home, address, self.port, self.superuser_password, self)
        self.clusters.append(cluster)
        copy = ["cp", "-a", str(self.home / "golden" / "data"), str(home / "data")]
        await asyncio.to_thread(subprocess.run, copy, check=True)
        await cluster.start()
        await cluster.set_password(password)
        return cluster

    def destroy(self, cluster: Cluster) -> None:
        """Stop a cluster and remove its data."""
        cluster.stop()
        shutil.rmtree(cluster.home, ignore_errors=True)
        self.clusters.remove(cluster)


def can_listen() -> bool:
    """Whether all of 127.0.0.0/8 is this machine, as on Linux."""
    with socket.socket() as wire:
        try:
            wire.bind(("127.77.0.1", 0))
        except OSError:
            return False
    return True


@asynccontextmanager
async def open_machines(home: Path) -> AsyncIterator[Machines]:
    """Machines in the new folder `home`, whose parents every account may pass through."""
    machines = _new_machines(home)
    await _make_golden(machines)
    try:
        yield machines
    finally:
        for cluster in machines.clusters:
            cluster.stop()


def _new_machines(home: Path) -> Machines:
    home.mkdir(mode=0o755)
    account = choose_account(home / "data", home)
    account.own(home)
    password = secrets.token_urlsafe(16)
    return Machines(home, installation_for(account), account, password, free_port())


async def _make_golden(machines: Machines) -> None:
    home = machines.home / "golden"
    home.mkdir(mode=0o755)
    (home / "password").write_text(machines.superuser_password)
    for path in (home, home / "password"):
        machines.account.own(path)
    command = [
        str(machines.installation.program("initdb")),
        f"--pgdata={home / 'data'}",
        f"--username={SUPERUSER}",
        f"--pwfile={home / 'password'}",
        "--auth=scram-sha-256",
        "--encoding=UTF8",
        "--locale=C.UTF-8",
        "--wal-segsize=1",
        "--no-sync",
    ]
    subprocess.run(  # noqa: ASYNC221, S603 - once; our own
        command, check=True, capture_output=True, **machines.account.spawn
    )
    (home / "data" / "pg_hba.conf").write_text(HBA)
    golden = Cluster(home, "127.77.0.1", machines.port, machines.superuser_password, machines)
    await golden.start()
    async with golden.look() as admin:
        await admin.execute(SCHEMA)
    assert golden._process is not None, "started just now"  # noqa: SLF001 - of this module
    golden._process.send_signal(signal.SIGINT)  # noqa: SLF001
    golden._process.wait()  # noqa: SLF001
    golden._process = None  # noqa: SLF001
