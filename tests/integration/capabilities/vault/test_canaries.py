"""No secret turns up where it was not put: logs, statistics, dumps, environments, data files."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import asyncmy
import httpx
import pytest
from mariadb_server import ABSENT, MariadbServer, find_mariadbd, run_mariadb
from tests.integration.capabilities.vault.canaries import (
    Witness,
    canary,
    files,
    found_in,
    processes,
)
from tests.integration.capabilities.vault.safe import SAFE, Safe
from tests.integration.engine.drivers.tls_server import make_certificates

from bulkhead.capabilities.vault.check_up import check_values, check_vault
from bulkhead.capabilities.vault.export import export_keys
from bulkhead.capabilities.vault.rotation import reseal, rotate_master
from bulkhead.engine.connections.admin import program_of, url_of
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.drivers.endpoint import Tls, open_connection
from bulkhead.engine.drivers.postgres import PostgresDriver
from bulkhead.engine.drivers.scram import scram_verifier
from bulkhead.engine.egress import open_egress
from bulkhead.engine.errors import BulkheadError
from bulkhead.engine.fleet.databases import Databases
from bulkhead.engine.fleet.fleet import Fleet
from bulkhead.engine.fleet.guarded import guarded_by
from bulkhead.engine.fleet.model import (
    ConnectionConfig,
    SecretText,
    ServerKind,
    TenantId,
    TenantPlace,
    TenantState,
)
from bulkhead.engine.fleet.mysql import outside_mysql
from bulkhead.engine.fleet.outside import OutsidePostgres
from bulkhead.engine.fleet.registry import add_tenant, get_tenant, set_state
from bulkhead.engine.fleet.seals import SEALED_COLUMNS, Seals
from bulkhead.engine.ids import new_id
from bulkhead.engine.settings import Settings
from bulkhead.engine.testing import MEMORY, TestServers
from bulkhead.web.compose import compose

TALKATIVE = {
    "log_statement": "all",
    "log_min_duration_statement": "0",
    "log_parameter_max_length": "-1",
    "log_parameter_max_length_on_error": "-1",
    "log_min_error_statement": "debug1",
    "log_error_verbosity": "verbose",
    "log_connections": "on",
    "pg_stat_statements.track_utility": "on",
}
CONTROL = "canary-that-was-put-there-on-purpose"
USED = "PostgreSQL files and logs of master"
IDENTITY = "create table _identity (tenant_id {type} primary key)"


@pytest.fixture
def talkative_mariadb() -> Iterator[MariadbServer]:
    if find_mariadbd() is None:
        pytest.skip(ABSENT)
    folder = Path(tempfile.mkdtemp(prefix="bulkhead-", dir=MEMORY if MEMORY.is_dir() else None))
    folder.chmod(0o755)
    log = ("--general-log", "--slow-query-log", "--long-query-time=0")
    with run_mariadb(folder / "m", make_certificates("localhost"), *log) as server:
        yield server
    shutil.rmtree(folder, ignore_errors=True)


@dataclass(slots=True)
class Platform:
    """A platform with two customers, each with a database on a server of their own."""

    safe: Safe
    fleet: Fleet
    seals: Seals
    postgres: PostgresDriver
    mariadb: MariadbServer
    witness: Witness
    secrets: dict[str, str | bytes]

    async def admin(self, sql: str, database: str | None = None) -> Any:
        endpoint = self.postgres.endpoint
        connection = await open_connection(endpoint, endpoint.administrator(database), timeout_s=10)
        try:
            return await connection.fetch(sql)
        finally:
            await connection.close()

    async def mariadb_admin(self, *statements: str) -> list[Any]:
        connection = await asyncmy.connect(
            host="127.0.0.1",
            port=self.mariadb.port,
            user="root",
            password=self.mariadb.password,
            autocommit=True,
        )
        rows: list[Any] = []
        try:
            async with connection.cursor() as cursor:
                for statement in statements:
                    await cursor.execute(statement)
                    rows += await cursor.fetchall()
        finally:
            connection.close()
        return rows

    async def connect(self, config: ConnectionConfig) -> TenantId:
        """What a customer does who connects a database."""
        tenant = TenantId(new_id())
        sealed = await self.seals.seal_connection(tenant, config)
        place = TenantPlace(config.kind, None, config.database, None, None, sealed)
        self.witness.look(config, place, self.seals, self.safe.vault)
        async with self.safe.system.database("master").transaction(SERVICE) as tx:
            await add_tenant(tx, tenant, "shops", place)
            await set_state(tx, tenant, TenantState.ACTIVE, expected=[TenantState.PROVISIONING])
            self.witness.look(await get_tenant(tx, tenant))
        return tenant

    async def fail(self, work: Any) -> None:
        """Something that has to fail, and be talked about."""
        with pytest.raises(BulkheadError) as caught:
            await work
        self.witness.note(caught.value)


@asynccontextmanager
async def open_platform(
    servers: TestServers, home: Path, mariadb: MariadbServer
) -> AsyncIterator[Platform]:
    driver = await servers.driver("master")
    application = replace(SAFE, vault=None)
    async with servers.system(application, Settings(home=home), apart=True) as system:
        vault = SAFE.vault(system) if SAFE.vault is not None else None
        assert vault is not None
        safe = Safe(system, vault)  # type: ignore[arg-type]
        safe.vault.columns = SEALED_COLUMNS
        await safe.vault.unlock()
        seals = Seals(safe.vault.name, safe.vault)
        egress = open_egress(system.settings)
        databases = Databases(
            system.database("master"),
            seals,
            outside={
                ServerKind.POSTGRESQL: lambda c: OutsidePostgres(c, guarded_by(egress)),
                ServerKind.MYSQL: outside_mysql(egress),
            },
        )
        fleet = Fleet("shops", databases)
        try:
            yield Platform(safe, fleet, seals, driver._driver, mariadb, Witness(), {})
        finally:
            await fleet.close()


async def own_postgres(platform: Platform) -> TenantId:
    password = platform.secrets["PostgreSQL password"] = canary("postgres")
    verifier = scram_verifier(password)
    for name, value in TALKATIVE.items():
        await platform.admin(f"alter system set {name} = '{value}'")
    await platform.admin("select pg_reload_conf()")
    await platform.admin(f"create role canary login password '{verifier}'")
    await platform.admin("create database canary owner canary")
    tenant = await platform.connect(
        ConnectionConfig(
            ServerKind.POSTGRESQL,
            "localhost",
            platform.postgres.endpoint.port,
            "canary",
            "canary",
            SecretText(password),
            tls=Tls.DISABLE,
        )
    )
    for sql in (IDENTITY.format(type="uuid"), f"insert into _identity values ('{tenant}')"):
        await platform.admin(sql, "canary")
    await platform.admin("grant select on _identity to canary", "canary")
    return tenant


async def own_mariadb(platform: Platform) -> TenantId:
    password = platform.secrets["MariaDB password"] = canary("mariadb")
    digest = hashlib.sha1(hashlib.sha1(password.encode()).digest())  # noqa: S324 - the server's
    await platform.mariadb_admin(
        "create database canary",
        f"create user canary@'%' identified by password '*{digest.hexdigest().upper()}'",
        "grant all privileges on canary.* to canary@'%'",
    )
    key = platform.secrets["service role key"] = canary("key")
    assert platform.mariadb.ca_file is not None
    tenant = await platform.connect(
        ConnectionConfig(
            ServerKind.MYSQL,
            "localhost",
            platform.mariadb.port,
            "canary",
            "canary",
            SecretText(password),
            ca_pem=platform.mariadb.ca_file.read_text(),
            service_role_key=SecretText(key),
        )
    )
    await platform.mariadb_admin(
        "use canary",
        IDENTITY.format(type="binary(16)"),
        f"insert into _identity values (x'{tenant.hex}')",
    )
    return tenant


async def live(platform: Platform, tenants: list[TenantId], home: Path) -> None:
    """A day of the platform, with everything that goes wrong in it."""
    fleet, vault, safe = platform.fleet, platform.safe.vault, platform.safe
    for tenant in tenants:
        assert await fleet.query(tenant, "select 1 as one")
        await platform.fail(fleet.query(tenant, "select * from there_is_none"))
        await platform.fail(fleet.query(TenantId(new_id()), "select 1"))
    wrong = platform.secrets["wrong password"] = canary("wrong")
    for tenant in tenants:
        async with safe.system.database("master").transaction(SERVICE) as tx:
            row = await get_tenant(tx, tenant)
        assert row.place.sealed_connection is not None
        config = await platform.seals.open_connection(tenant, row.place.sealed_connection)
        other = await platform.connect(replace(config, password=SecretText(wrong)))
        await platform.fail(fleet.query(other, "select 1"))
        await platform.fail(platform.seals.open_connection(other, row.place.sealed_connection))
        nowhere = await platform.connect(replace(config, port=1, tls=Tls.DISABLE))
        await platform.fail(fleet.query(nowhere, "select 1"))
        # A sealed value that breaks a rule: the server logs the statement with its parameters.
        await platform.fail(
            safe.sql(
                "insert into bulkhead.fleet_tenants (id, fleet, kind, database, sealed_connection)"
                " values ($1, '', 'postgresql', 'x', $2)",
                tenant,
                row.place.sealed_connection,
            )
        )
    passphrase = platform.secrets["passphrase"] = canary("passphrase")
    export_keys(home / "export.json", vault.masters.keys, passphrase)
    await rotate_master(vault)
    for tenant in tenants:
        await vault.rotate_key(str(tenant))
    await reseal(vault)
    platform.witness.look(await check_vault(vault), await check_values(vault), vault)
    platform.witness.look(vault.masters, vault.masters.keys)
    for number, key in enumerate(vault.masters.keys):
        platform.secrets[f"master key {number}"] = key.value
    for tenant in tenants:
        own = (await vault._take_key(str(tenant))).key
        platform.secrets[f"key of {tenant}"] = own.value
        platform.witness.look(own)


async def collect(
    platform: Platform, servers: TestServers, home: Path, since: Path
) -> dict[str, bytes]:
    system = platform.safe.system
    database = system.database("master")
    sinks = platform.witness.sinks() | processes()
    await platform.admin("create extension if not exists pg_stat_statements")
    statistics = await platform.admin("select query from pg_stat_statements")
    activity = await platform.admin("select * from pg_stat_activity")
    dump = await asyncio.create_subprocess_exec(
        program_of(database, "pg_dump"),
        url_of(database, "admin"),
        stdout=asyncio.subprocess.PIPE,
    )
    sinks["dump"], _ = await dump.communicate()
    mariadb = platform.mariadb
    sinks |= {
        "PostgreSQL statistics": repr([row["query"] for row in statistics]).encode(),
        "PostgreSQL activity": repr([dict(row) for row in activity]).encode(),
        "MariaDB processes": repr(await platform.mariadb_admin("show full processlist")).encode(),
        "MariaDB files and logs": files(mariadb.home, since),
        "home": files(home, since, leave_out=frozenset({platform.safe.key_file})),
    }
    for name in servers.drivers:
        sinks[f"PostgreSQL files and logs of {name}"] = files(servers.home / name, since)
    app = compose([system], system.settings).app
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as http:
        for path in (
            "/metrics",
            "/health/ready",
            "/openapi.json",
            "/none",
            "/safe/master/rest/v1/",
        ):
            sinks[f"GET {path}"] = (await http.get(path)).content
    return sinks


async def test_no_secret_turns_up_anywhere(
    servers: TestServers,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    talkative_mariadb: MariadbServer,
) -> None:
    since = tmp_path_factory.mktemp("since") / "began"
    since.touch()
    async with open_platform(servers, tmp_path, talkative_mariadb) as platform:
        with platform.witness.listening():
            tenants = [await own_postgres(platform), await own_mariadb(platform)]
            await live(platform, tenants, tmp_path)
            await platform.admin(f"select '{CONTROL}'")
            await platform.mariadb_admin(f"select '{CONTROL}'")
            platform.witness.look(CONTROL)
        sinks = await collect(platform, servers, tmp_path, since)
        assert len(sinks) >= 12
        # The platform is on one of the servers, so that nothing may have been written on others.
        others = {f"PostgreSQL files and logs of {name}" for name in servers.drivers} - {USED}
        assert [name for name in sinks.keys() - others if not sinks[name]] == []
        assert len(platform.secrets) >= 8
        assert found_in(sinks, platform.secrets) == []
        controls = found_in(sinks, {"it": CONTROL})
        assert {
            "it in representations",
            "it in MariaDB files and logs",
            f"it in {USED}",
        } <= set(controls), "the search finds what is there"
