"""Servers that customers name: good ones are used, rogue ones get nothing and do no harm."""

import asyncio
import base64
import hashlib
import hmac
import struct
from collections.abc import Sequence
from typing import Any

import asyncpg
import pytest
import uvloop
from tests.integration.engine.drivers.rogue_server import (
    OK,
    READY,
    SASL,
    Behave,
    Reader,
    Writer,
    message,
    read_message,
    request,
    rogue,
    scram_first,
    server_first,
)
from tests.integration.engine.drivers.tls_server import TlsServer, make_certificates

from bulkhead.engine.drivers.endpoint import Session, Tls
from bulkhead.engine.drivers.errors import (
    DatabaseMissing,
    LoginRefused,
    ServerUnreachable,
    TlsRequired,
)
from bulkhead.engine.drivers.foreign import Trust, open_foreign
from bulkhead.engine.drivers.foreign_frames import ServerUntrusted
from bulkhead.engine.drivers.protocol import DatabaseSpec, Login
from bulkhead.engine.egress import Egress, Service, Target, open_egress
from bulkhead.engine.egress.guard import HostUnreachable
from bulkhead.engine.errors import BulkheadError
from bulkhead.engine.settings import Settings
from bulkhead.engine.testing import TestServers

PASSWORD = "correct-horse-battery-staple"  # noqa: S105
SESSION = Session("shop", PASSWORD, "shop")
PLAIN = Trust(Tls.DISABLE)
HERE = open_egress(Settings())


async def dial(
    port: int, trust: Trust = PLAIN, session: Session = SESSION, *, timeout_s: float = 5.0
) -> Any:
    target = await HERE.check("127.0.0.1", port, Service.POSTGRESQL)
    return await open_foreign(target, session, trust, timeout_s=timeout_s)


def saying(*answers: bytes) -> Behave:
    async def behave(reader: Reader, writer: Writer) -> None:
        for answer in answers:
            writer.write(answer)

    return behave


def secrets_of(password: str, user: str) -> list[bytes]:
    """What a server may have got that stands for the password."""
    inner = hashlib.md5((password + user).encode()).hexdigest()  # noqa: S324
    outer = hashlib.md5(inner.encode() + b"salt").hexdigest()  # noqa: S324
    return [password.encode(), inner.encode(), outer.encode()]


async def wrong_nonce(reader: Reader, writer: Writer) -> None:
    writer.write(SASL)
    await scram_first(reader)
    writer.write(server_first("another-nonce-than-yours"))


async def wrong_signature(reader: Reader, writer: Writer) -> None:
    writer.write(SASL)
    writer.write(server_first(await scram_first(reader)))
    await read_message(reader)
    signature = hmac.new(b"guess", b"x", hashlib.sha256).digest()
    writer.write(request(12, b"v=" + base64.b64encode(signature)) + OK + READY)


async def no_signature(reader: Reader, writer: Writer) -> None:
    writer.write(SASL)
    writer.write(server_first(await scram_first(reader)))
    await read_message(reader)
    writer.write(OK + READY)


def iterating(iterations: int) -> Behave:
    async def behave(reader: Reader, writer: Writer) -> None:
        writer.write(SASL)
        writer.write(server_first(await scram_first(reader), iterations=iterations))
        await read_message(reader)

    return behave


async def first_scram_then_clear(reader: Reader, writer: Writer) -> None:
    writer.write(SASL)
    await scram_first(reader)
    writer.write(request(3))


async def in_pieces(reader: Reader, writer: Writer) -> None:
    for byte in request(3):
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(0)


ROGUES: dict[str, tuple[Behave, str]] = {
    "clear": (saying(request(3)), "in clear"),
    "clear in pieces": (in_pieces, "in clear"),
    "clear after a notice": (saying(message(b"N", b"SNOTICE\0Mhi\0\0") + request(3)), "in clear"),
    "md5": (saying(request(5, b"salt")), "MD5"),
    "kerberos": (saying(request(2)), "Kerberos"),
    "gss": (saying(request(7)), "GSSAPI"),
    "sspi": (saying(request(9)), "SSPI"),
    "nothing": (saying(OK, READY), "without a password"),
    "unknown": (saying(request(99)), "as PostgreSQL does"),
    "empty request": (saying(message(b"R")), "as PostgreSQL does"),
    "plain sasl": (saying(request(10, b"PLAIN\0\0")), "no log-in by SCRAM"),
    "clear after scram": (first_scram_then_clear, "in clear"),
    "continue at once": (saying(server_first("abcdefgh")), "as PostgreSQL does"),
    "final at once": (saying(request(12, b"v=")), "as PostgreSQL does"),
    "no signature": (no_signature, "without a password"),
    "one iteration": (iterating(1), "as its standard says"),
    "many iterations": (iterating(2_000_000_000), "as its standard says"),
    "rows before log-in": (saying(message(b"D", b"\0\0")), "before the log-in"),
    "another encoding": (saying(message(b"S", b"client_encoding\0zlib\0")), "before the log-in"),
    "huge error": (saying(b"E" + struct.pack("!i", 2**30)), "too large"),
    "negative length": (saying(b"E" + struct.pack("!i", -1)), "too large"),
    "endless notices": (saying(message(b"N", b"M" + b"x" * 60_000 + b"\0\0") * 50), "more than"),
    "web server": (saying(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "no message of PostgreSQL"),
}


@pytest.mark.parametrize("name", ROGUES)
async def test_a_rogue_server_gets_no_password(name: str) -> None:
    behave, words = ROGUES[name]
    async with rogue(behave) as (port, heard):
        with pytest.raises(ServerUntrusted, match=words):
            await dial(port)
    assert not [secret for secret in secrets_of(PASSWORD, "shop") if secret in heard.data]


@pytest.mark.parametrize("behave", [wrong_nonce, wrong_signature])
async def test_a_server_that_only_plays_scram_is_refused(behave: Behave) -> None:
    async with rogue(behave) as (port, heard):
        with pytest.raises(BulkheadError):
            await dial(port)
    assert PASSWORD.encode() not in heard.data


async def test_without_the_check_the_driver_would_hand_the_password_over() -> None:
    """The control: what the tests above would see if nothing were checked."""
    async with rogue(saying(request(3))) as (port, heard):
        with pytest.raises((asyncpg.PostgresError, OSError, TimeoutError)):
            await asyncpg.connect(
                host="127.0.0.1",
                port=port,
                user="shop",
                password=PASSWORD,
                database="shop",
                ssl=False,
                timeout=1,
            )
        assert PASSWORD.encode() in heard.data


@pytest.mark.parametrize("beginning", [b"", b"R", b"R\0\0\0", SASL[:-1]])
async def test_a_server_that_hangs_costs_the_time_that_was_given(beginning: bytes) -> None:
    async with rogue(saying(beginning)) as (port, _):
        async with asyncio.timeout(30):
            with pytest.raises((ServerUnreachable, HostUnreachable)):
                await dial(port, timeout_s=0.3)


async def test_an_error_text_of_a_rogue_is_not_repeated() -> None:
    text = b"SFATAL\0VFATAL\0C28P01\0M<script>\x1b[31m" + b"x" * 1000 + b"\0Fa\0L1\0Rauth\0\0"
    async with rogue(saying(message(b"E", text))) as (port, _):
        with pytest.raises(LoginRefused) as caught:
            await dial(port)
    assert "script" not in str(caught.value.to_json())


async def test_a_server_without_tls_gets_not_even_a_name_when_tls_is_asked_for() -> None:
    async with rogue(saying(request(3))) as (port, heard):
        with pytest.raises(TlsRequired):
            await dial(port, Trust())
    assert b"shop" not in heard.data


async def test_on_a_public_network_nothing_is_sent_without_a_verified_certificate() -> None:
    target = Target(Service.POSTGRESQL, "db.example", 5432, (), is_inside=False)
    for trust in (PLAIN, Trust(Tls.REQUIRE), Trust(Tls.VERIFY_CA)):
        with pytest.raises(TlsRequired, match="must be verified"):
            await open_foreign(target, SESSION, trust, timeout_s=1)
    with pytest.raises(TlsRequired, match="holds no certificates"):
        await open_foreign(target, SESSION, Trust(ca_pem="nonsense"), timeout_s=1)


async def stretch(driver: Any, spec: DatabaseSpec) -> Session:
    """A login whose verifier is as PostgreSQL makes them; ours are of keys, and need no time."""
    session: Session = driver.session(spec, Login.SERVICE)
    admin = await driver.connect(spec, Login.ADMIN, timeout_s=5)
    try:
        await admin.execute(f"alter role {session.user} password '{session.password}'")
    finally:
        admin.terminate()
    return session


async def test_a_real_server_is_used_as_ever(servers: TestServers) -> None:
    driver = (await servers.driver("shared"))._driver
    spec = DatabaseSpec("foreign_shop")
    await driver.ensure_database(spec)
    try:
        with pytest.raises(ServerUntrusted):
            await dial(driver.endpoint.port, session=driver.session(spec, Login.SERVICE))
        endpoint, session = driver.endpoint, await stretch(driver, spec)
        connection = await dial(endpoint.port, session=session)
        assert await connection.fetchval("select $1::int + 1", 41) == 42
        rows = await connection.fetch("select n, repeat('x', 100) from generate_series(1, 5000) n")
        assert len(rows) == 5000
        assert await connection.fetch("select name, setting, 'S' from pg_settings")
        assert connection.get_settings().application_name == "bulkhead"
        # What takes too long ends the connection, and asks nobody else to stop it.
        with pytest.raises(TimeoutError):
            await connection.execute("select pg_sleep(10)", timeout=0.2)
        assert connection.is_closed()
        with pytest.raises(LoginRefused):
            await dial(endpoint.port, session=Session(session.user, "wrong", spec.name))
        with pytest.raises(DatabaseMissing):
            await dial(endpoint.port, session=Session(session.user, session.password, "nowhere"))
    finally:
        await driver.drop_database(spec)


async def test_an_answer_without_end_ends_the_connection(servers: TestServers) -> None:
    driver = (await servers.driver("shared"))._driver
    spec = DatabaseSpec("foreign_flood")
    await driver.ensure_database(spec)
    try:
        session = await stretch(driver, spec)
        for sql in (
            "select repeat('x', 100000) from generate_series(1, 100000)",
            "select repeat('x', 80000000)",
        ):
            connection = await dial(driver.endpoint.port, session=session)
            with pytest.raises(Exception, match=r"closed|sends"):
                await connection.fetch(sql)
            assert connection.is_closed()
        connection = await dial(driver.endpoint.port, session=session)
        copied = 0

        async def count(data: bytes) -> None:
            nonlocal copied
            copied += len(data)

        query = "select repeat('x', 1000000) from generate_series(1, 80)"
        await connection.copy_from_query(query, output=count)
        assert copied > 80_000_000, "what is streamed may be as long as it likes"
        await connection.close()
    finally:
        await driver.drop_database(spec)


async def test_a_certificate_is_verified_for_the_name_at_the_pinned_address(
    tls_server: TlsServer,
) -> None:
    session = Session("postgres", tls_server.password, "postgres")
    ours = Trust(ca_pem=tls_server.ca_file.read_text())
    other = Trust(ca_pem=make_certificates("localhost")["ca.crt"].decode())

    async def resolve(host: str, port: int) -> Sequence[str]:
        return ["127.0.0.1"]

    egress = Egress(HERE.allowed, resolve=resolve)
    target = await egress.check("localhost", tls_server.port, Service.POSTGRESQL)
    connection = await open_foreign(target, session, ours, timeout_s=5)
    assert await connection.fetchval("select ssl from pg_stat_ssl where pid = pg_backend_pid()")
    await connection.close()
    elsewhere = await egress.check("db.example", tls_server.port, Service.POSTGRESQL)
    for where, trust in ((elsewhere, ours), (target, other), (target, Trust())):
        with pytest.raises(TlsRequired):
            await open_foreign(where, session, trust, timeout_s=5)


async def test_a_name_that_is_given_another_address_meanwhile_leads_to_the_first_one(
    servers: TestServers,
) -> None:
    """DNS rebinding: the second answer is never asked for."""
    answers = iter([["127.0.0.1"], ["127.0.0.2"]])

    async def resolve(host: str, port: int) -> Sequence[str]:
        return next(answers)

    driver = (await servers.driver("shared"))._driver
    spec = DatabaseSpec("foreign_name")
    await driver.ensure_database(spec)
    try:
        session = await stretch(driver, spec)
        target = await Egress(HERE.allowed, resolve=resolve).check(
            "rebinding.example", driver.endpoint.port, Service.POSTGRESQL
        )
        connection = await open_foreign(target, session, PLAIN, timeout_s=5)
        assert await connection.fetchval("select host(inet_server_addr())") == "127.0.0.1"
        await connection.close()
        assert next(answers) == ["127.0.0.2"]
    finally:
        await driver.drop_database(spec)


async def test_the_check_holds_on_the_loop_that_serves(tls_server: TlsServer) -> None:
    """uvloop's transports differ from asyncio's."""
    ours = Trust(ca_pem=tls_server.ca_file.read_text())
    session = Session("postgres", tls_server.password, "postgres")

    async def work() -> int:
        async with rogue(saying(request(3))) as (port, heard):
            with pytest.raises(ServerUntrusted, match="in clear"):
                await dial(port)
            assert PASSWORD.encode() not in heard.data
        target = await HERE.check("localhost", tls_server.port, Service.POSTGRESQL)
        connection = await open_foreign(target, session, ours, timeout_s=5)
        with pytest.raises(Exception, match=r"closed|sends"):
            await connection.fetch("select repeat('x', 80000000)")
        connection = await open_foreign(target, session, ours, timeout_s=5)
        found: int = await connection.fetchval("select 42")
        await connection.close()
        return found

    def run() -> int:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(work())

    assert await asyncio.to_thread(run) == 42
