"""A connection over a network goes to the right server, or nowhere."""

import secrets
from pathlib import Path

import pytest
from tests.integration.engine.drivers.subject import Subject
from tests.integration.engine.drivers.tls_server import TlsServer, make_certificates

from bulkhead.engine.drivers.endpoint import Endpoint, Tls, open_connection, parse_dsn
from bulkhead.engine.drivers.errors import TlsRequired
from bulkhead.engine.drivers.postgres import PostgresDriver
from bulkhead.engine.drivers.protocol import DatabaseSpec, Login


async def connects(endpoint: Endpoint) -> bool:
    connection = await open_connection(endpoint, endpoint.administrator(), timeout_s=10)
    encrypted: bool = await connection.fetchval(
        "select ssl from pg_stat_ssl where pid = pg_backend_pid()"
    )
    await connection.close()
    return encrypted


async def test_a_server_with_the_right_name_and_authority_is_accepted(
    tls_server: TlsServer,
) -> None:
    dsn = tls_server.dsn(sslmode="verify-full", sslrootcert=str(tls_server.ca_file))
    assert await connects(parse_dsn(dsn))


async def test_another_name_is_refused(tls_server: TlsServer) -> None:
    dsn = tls_server.dsn("127.0.0.1", sslmode="verify-full", sslrootcert=str(tls_server.ca_file))
    with pytest.raises(TlsRequired, match=r"not valid for '127\.0\.0\.1'"):
        await connects(parse_dsn(dsn))
    dsn = tls_server.dsn("127.0.0.1", sslmode="verify-ca", sslrootcert=str(tls_server.ca_file))
    assert await connects(parse_dsn(dsn))


async def test_an_unknown_authority_is_refused(tls_server: TlsServer, tmp_path: Path) -> None:
    other = tmp_path / "other.crt"
    other.write_bytes(make_certificates("localhost")["ca.crt"])
    for mode in ("verify-ca", "verify-full"):
        for query in ({"sslrootcert": str(other)}, {"sslrootcert": "system"}, {}):
            with pytest.raises(TlsRequired, match=r"certificate|issuer|signature"):
                await connects(parse_dsn(tls_server.dsn(sslmode=mode, **query)))
    assert await connects(parse_dsn(tls_server.dsn(sslmode="require")))


async def test_a_server_that_wants_encryption_says_so(tls_server: TlsServer) -> None:
    with pytest.raises(TlsRequired, match="encrypted connections only"):
        await connects(parse_dsn(tls_server.dsn(sslmode="disable")))


async def test_a_server_without_tls_gets_no_password(limited: Subject) -> None:
    for mode in (Tls.REQUIRE, Tls.VERIFY_CA, Tls.VERIFY_FULL):
        endpoint = Endpoint("localhost", limited.superuser.port, "postgres", "x", tls=mode)
        with pytest.raises(TlsRequired, match="does not offer TLS"):
            await connects(endpoint)


async def test_a_database_that_asks_for_verified_tls_gets_it_whatever_the_dsn_says(
    tls_server: TlsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Endpoint, "is_local", property(lambda _: False))
    driver = PostgresDriver(tls_server.dsn(sslmode="require"), secrets.token_bytes(32))
    await driver.start()
    payments = DatabaseSpec("payments", verified_tls=True)
    with pytest.raises(TlsRequired):
        await driver.ensure_database(payments)
    with pytest.raises(TlsRequired):
        await driver.connect(payments, Login.ADMIN, timeout_s=10)
    assert "sslmode=verify-full" in driver.url(payments, Login.CLIENT)
