"""Databases of an application behind a real PgBouncer, mostly in transaction mode."""

import asyncio
import configparser
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.integration.conftest import StartPgbouncer
from tests.integration.engine.connections.test_scope import (
    LEASES,
    NOTES,
)
from tests.integration.engine.drivers.pooled import pooled_driver, through, upstream
from tests.integration.engine.drivers.tls_server import make_certificates

from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.connections.database import OpenDatabase
from bulkhead.engine.drivers.endpoint import Endpoint, Tls, open_connection
from bulkhead.engine.drivers.errors import (
    DatabaseMissing,
    LoginRefused,
    PoolerInBetween,
    ServerUnreachable,
    TooManyConnections,
)
from bulkhead.engine.drivers.pooler import Pooling
from bulkhead.engine.drivers.postgres import PostgresDriver
from bulkhead.engine.drivers.protocol import DatabaseSpec, Login
from bulkhead.engine.errors import BulkheadError
from bulkhead.engine.messaging.listener import Listener
from bulkhead.engine.monitoring.doctor import diagnose
from bulkhead.engine.monitoring.findings import Finding
from bulkhead.engine.settings import Settings
from bulkhead.engine.system import System
from bulkhead.engine.testing import TestServers

AUTH_DATABASE_SINCE = (1, 19)
"""The PgBouncer that knows of `auth_dbname` first."""
RECIPE = Path(__file__).parents[4] / "docs" / "how-to" / "place-databases.md"


@pytest.fixture(scope="module")
async def direct(servers: TestServers) -> AsyncIterator[System]:
    """The application without a pooler."""
    async with servers.system(NOTES, Settings(pool_size=4)) as system:
        yield system


@pytest.fixture
def notes(direct: System) -> OpenDatabase:
    return direct.database("notes")


@pytest.mark.parametrize(
    ("mode", "settings"),
    [
        ("transaction", {}),
        ("transaction", {"default_pool_size": 1}),
        ("transaction", {"server_round_robin": 1}),
        ("session", {}),
        ("session", {"default_pool_size": 1}),
    ],
)
async def test_the_probe_tells_in_which_mode_a_pooler_is(
    servers: TestServers,
    notes: OpenDatabase,
    start_pgbouncer: StartPgbouncer,
    mode: str,
    settings: dict[str, object],
) -> None:
    pgbouncer = start_pgbouncer(await upstream(servers), pool_mode=mode, **settings)
    driver = pooled_driver(await servers.driver("shared"), pgbouncer.endpoint())
    seen = await driver.probe(notes.spec)
    assert seen.pooling == mode
    assert seen.behind_pooler
    assert seen.keeps_sessions is (mode == "session")
    assert (seen.listen_notify, seen.advisory_locks, seen.set_role) == (True, True, True)


async def test_without_a_pooler_there_is_none(notes: OpenDatabase) -> None:
    seen = await notes.driver.probe(notes.spec)
    assert seen.pooling is Pooling.NONE
    assert not seen.behind_pooler


async def test_a_pooler_in_transaction_mode_is_not_taken_for_a_server(
    servers: TestServers, start_pgbouncer: StartPgbouncer
) -> None:
    pgbouncer = start_pgbouncer(await upstream(servers))
    secret = (await servers.driver("shared"))._driver._secret
    with pytest.raises(PoolerInBetween) as caught:
        await PostgresDriver(pgbouncer.endpoint(), secret).start()
    assert "_DIRECT_URL" in caught.value.advice
    pgbouncer.restart(pool_mode="session")
    await PostgresDriver(pgbouncer.endpoint(), secret).start()
    await PostgresDriver(await upstream(servers), secret, pooler=pgbouncer.endpoint()).start()


async def test_a_session_mode_pooler_can_stand_for_the_server(
    servers: TestServers, start_pgbouncer: StartPgbouncer
) -> None:
    pgbouncer = start_pgbouncer(await upstream(servers), pool_mode="session")
    secret = (await servers.driver("shared"))._driver._secret
    driver, spec = PostgresDriver(pgbouncer.endpoint(), secret), DatabaseSpec("sessions_kept")
    await driver.start()
    try:
        await driver.ensure_database(spec)
        seen = await driver.probe(spec)
        assert seen.pooling is Pooling.SESSION
        assert seen.listen_notify
        assert seen.advisory_locks
        assert seen.snapshot_export
    finally:
        await driver.drop_database(spec)


async def doctor(system: System) -> list[Finding]:
    found = await diagnose(system.router, system.application.topology)
    return [finding for finding in found if finding.code.startswith(("behind_", "pooler_"))]


async def test_the_doctor_says_what_stands_in_front(
    servers: TestServers, direct: System, start_pgbouncer: StartPgbouncer
) -> None:
    pgbouncer = start_pgbouncer(await upstream(servers))
    assert not await doctor(direct)
    async with through(pgbouncer, direct) as system:
        (finding,) = await doctor(system)
        assert "transaction mode" in finding.detail
        assert "LISTEN" in finding.detail
    pgbouncer.restart(pool_mode="session")
    async with through(pgbouncer, direct) as system:
        (finding,) = await doctor(system)
        assert "session mode" in finding.detail


async def test_refused_logins_and_full_poolers_are_told_apart(
    servers: TestServers, notes: OpenDatabase, start_pgbouncer: StartPgbouncer
) -> None:
    pgbouncer = start_pgbouncer(await upstream(servers))
    embedded = await servers.driver("shared")
    other = PostgresDriver(
        embedded._driver.endpoint, b"another secret, at least 32 bytes", pooler=pgbouncer.endpoint()
    )
    for spec in (notes.spec, DatabaseSpec(notes.spec.name, login_prefix="nobody_there")):
        with pytest.raises(LoginRefused):
            await other.connect(spec, Login.CLIENT, timeout_s=5)
    pgbouncer.restart(max_client_conn=2)
    driver = pooled_driver(embedded, pgbouncer.endpoint())
    async with contextlib.AsyncExitStack() as stack:
        with pytest.raises(TooManyConnections):  # noqa: PT012
            for _ in range(3):
                raw = await driver.connect(notes.spec, Login.CLIENT, timeout_s=5)
                stack.callback(raw.terminate)


async def test_why_a_database_cannot_be_reached_is_asked_of_the_server_itself(
    servers: TestServers, notes: OpenDatabase, start_pgbouncer: StartPgbouncer
) -> None:
    """A pooler lets whoever the server refuses wait, and then says that it has waited."""
    pgbouncer = start_pgbouncer(await upstream(servers), query_wait_timeout=1)
    driver = pooled_driver(await servers.driver("shared"), pgbouncer.endpoint())
    spec = DatabaseSpec("told_by_the_server")
    await driver.ensure_database(spec)
    try:
        others = DatabaseSpec(notes.spec.name, login_prefix=spec.name)
        with pytest.raises(LoginRefused):
            await driver.connect(others, Login.CLIENT, timeout_s=8)
        await driver.seal_template(spec)
        with pytest.raises(ServerUnreachable, match="sealed"):
            await driver.connect(spec, Login.CLIENT, timeout_s=8)
    finally:
        await driver.drop_database(spec)
    with pytest.raises((DatabaseMissing, LoginRefused)):
        await driver.connect(spec, Login.CLIENT, timeout_s=8)
    pgbouncer.pause()
    with pytest.raises(ServerUnreachable, match="no answer"):
        await driver.connect(notes.spec, Login.CLIENT, timeout_s=1)
    pgbouncer.resume()


async def test_logins_may_be_listed_by_their_verifiers(
    servers: TestServers, direct: System, start_pgbouncer: StartPgbouncer
) -> None:
    notes = direct.database("notes")
    admin = await notes.driver.connect(notes.spec, Login.ADMIN, timeout_s=5)
    listed = await admin.fetch(
        "select rolname, rolpassword from pg_authid where rolname = any($1)",
        [notes.spec.login(login) for login in (Login.CLIENT, Login.SERVICE)],
    )
    await admin.close()
    pgbouncer = start_pgbouncer(await upstream(servers))
    users = "".join(f'"{row["rolname"]}" "{row["rolpassword"]}"\n' for row in listed)
    path = pgbouncer.home / "listed"
    path.write_text(users)
    pgbouncer.account.own(path)
    pgbouncer.restart(auth_file=path, auth_user="")
    async with through(pgbouncer, direct) as system:
        for claims in LEASES.values():
            async with system.database("notes").transaction(claims) as tx:
                assert await tx.fetchval("select current_user::text") == claims.role


async def test_the_recipe_of_the_documentation_works(
    servers: TestServers, direct: System, start_pgbouncer: StartPgbouncer
) -> None:
    settings, script = read_recipe()
    there = await upstream(servers)
    pgbouncer = start_pgbouncer(there)
    if pgbouncer.version < AUTH_DATABASE_SINCE:
        pytest.skip("this PgBouncer asks for logins in each database")
    users = pgbouncer.home / "userlist.txt"
    users.write_text('"pgbouncer" "its password"')
    pgbouncer.account.own(users)
    admin = await open_connection(there, there.administrator(), timeout_s=5)
    try:
        await admin.execute(script)
        pgbouncer.restart(**{**settings, "auth_file": users})
        async with through(pgbouncer, direct) as system:
            await system.router.verify()
            for claims in LEASES.values():
                async with system.database("notes").transaction(claims) as tx:
                    assert await tx.fetchval("select current_user::text") == claims.role
        superuser = pgbouncer.endpoint()
        with pytest.raises(LoginRefused):
            await open_connection(superuser, superuser.administrator(), timeout_s=5)
    finally:
        await admin.execute("drop function public.pooler_login(text)")
        await admin.execute("drop owned by pgbouncer; drop role pgbouncer")
        await admin.close()


def read_recipe() -> tuple[dict[str, str], str]:
    """The settings of `pgbouncer.ini` and the script for the server, as the page has them."""
    page = RECIPE.read_text(encoding="utf-8")
    ini, script = (page.split(f"```{kind}\n")[1].split("```")[0] for kind in ("ini", "sql"))
    parser = configparser.ConfigParser()
    parser.read_string(ini)
    assert list(parser["databases"]) == ["*"]
    settings = dict(parser["pgbouncer"])
    for name in ("listen_addr", "listen_port"):
        del settings[name]
    return settings, script


async def test_tls_leads_to_the_pooler_and_the_probe_says_so(
    servers: TestServers, notes: OpenDatabase, start_pgbouncer: StartPgbouncer
) -> None:
    pgbouncer = start_pgbouncer(await upstream(servers), make_certificates("localhost"))
    endpoint = pgbouncer.endpoint()
    embedded = await servers.driver("shared")
    driver = pooled_driver(
        embedded,
        Endpoint("localhost", endpoint.port, "postgres", "", tls=None, ca_file=pgbouncer.ca_file),
    )
    # Loopback has no TLS where nobody asks for it, and this pooler takes nothing else.
    with pytest.raises(BulkheadError) as caught:
        await driver.connect(notes.spec, Login.CLIENT, timeout_s=5)
    assert caught.value.code in {"server_unreachable", "tls_required"}
    verified = Endpoint(
        "localhost",
        endpoint.port,
        "postgres",
        "",
        tls=Tls.VERIFY_FULL,
        ca_file=pgbouncer.ca_file,
    )
    seen = await pooled_driver(embedded, verified).probe(notes.spec)
    assert seen.tls
    assert seen.pooling is Pooling.TRANSACTION


async def test_what_is_told_is_heard_past_the_pooler(
    servers: TestServers, direct: System, start_pgbouncer: StartPgbouncer
) -> None:
    pgbouncer = start_pgbouncer(await upstream(servers), default_pool_size=1)
    heard: asyncio.Queue[frozenset[str]] = asyncio.Queue()
    async with through(pgbouncer, direct) as system:
        notes = system.database("notes")
        listening = asyncio.create_task(Listener(notes, heard.put_nowait, "told").run())
        try:
            async with asyncio.timeout(10):
                assert await heard.get() == frozenset()
                async with notes.transaction(SERVICE) as tx:
                    tx.at_commit("notify told, 'somebody'")
                assert await heard.get() == {"somebody"}
        finally:
            listening.cancel()
            await asyncio.wait([listening])
