"""A hostile MySQL server gets no password and no file, and cannot fill the memory or the time."""

import asyncio
import hashlib
import ssl
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.integration.engine.drivers.rogue_mysql import (
    CAPABILITIES,
    WITH_TLS,
    Behave,
    Talk,
    greeting,
    rogue_mysql,
    switch,
)
from tests.integration.engine.drivers.tls_server import make_certificates

from bulkhead.engine.drivers.endpoint import Session, Tls
from bulkhead.engine.drivers.errors import (
    CapabilityMissing,
    ConnectionLost,
    ServerUnreachable,
    StatementTimeout,
    TlsRequired,
)
from bulkhead.engine.drivers.foreign_frames import ServerUntrusted
from bulkhead.engine.drivers.mysql_connection import MysqlConnection, open_connection
from bulkhead.engine.drivers.mysql_errors import ResultTooLarge, ServerSuspicious
from bulkhead.engine.drivers.mysql_wire import Target
from bulkhead.engine.errors import BulkheadError

PASSWORD = "correct horse"  # noqa: S105
SESSION = Session("app", PASSWORD, "shop")
FILE = "/etc/hostname"


async def connect(
    port: int, tls: Tls = Tls.DISABLE, *, is_local: bool = False, timeout_s: float = 5.0
) -> MysqlConnection:
    target = Target("127.0.0.1", port, tls, is_local)
    return await open_connection(target, SESSION, timeout_s=timeout_s)


def assert_secret(heard: bytearray) -> None:
    once = hashlib.sha1(PASSWORD.encode()).digest()  # noqa: S324
    for known in (PASSWORD.encode(), once, hashlib.sha1(once).digest()):  # noqa: S324
        assert known not in heard


@pytest.mark.parametrize(
    "wish",
    [
        switch(b"mysql_clear_password", b""),
        switch(b"dialog", b"\x05Password: "),
        switch(b"mysql_old_password"),
        switch(b"sha256_password"),
        switch(b"\xff\xfe"),
        switch(b"no_such_plugin"),
        b"\xfe",
    ],
)
async def test_a_password_in_the_clear_is_refused(wish: bytes) -> None:
    async def behave(talk: Talk) -> None:
        await talk.say(greeting())
        await talk.hear()
        await talk.say(wish)

    async with rogue_mysql(behave) as rogue:
        with pytest.raises(BulkheadError) as caught:
            await connect(rogue.port)
        assert isinstance(caught.value, ServerUntrusted | ServerUnreachable) or (
            caught.value.code == "login_refused"
        )
        assert_secret(rogue.heard)


async def test_a_key_of_the_servers_own_is_not_used() -> None:
    async def behave(talk: Talk) -> None:
        await talk.say(greeting(b"caching_sha2_password"))
        await talk.hear()
        await talk.say(b"\x01\x04")

    async with rogue_mysql(behave) as rogue:
        with pytest.raises(ServerUntrusted, match="in the clear"):
            await connect(rogue.port)
        assert_secret(rogue.heard)


async def test_a_greeting_that_wants_the_password_at_once_gets_nothing() -> None:
    async def behave(talk: Talk) -> None:
        await talk.say(greeting(b"sha256_password"))

    async with rogue_mysql(behave) as rogue:
        with pytest.raises(ServerUntrusted):
            await connect(rogue.port)
        assert rogue.heard == b""


@pytest.mark.parametrize("tls", [Tls.REQUIRE, Tls.VERIFY_CA, Tls.VERIFY_FULL])
async def test_tls_is_not_gone_without(tls: Tls) -> None:
    async def behave(talk: Talk) -> None:
        await talk.say(greeting())

    async with rogue_mysql(behave) as rogue:
        with pytest.raises(TlsRequired, match="does not offer TLS"):
            await connect(rogue.port, tls)
        assert rogue.heard == b""


@pytest.mark.parametrize(
    ("tls", "plugin", "kind"),
    [
        (Tls.REQUIRE, b"caching_sha2_password", ServerUntrusted),
        (Tls.REQUIRE, b"sha256_password", ServerUntrusted),
        (Tls.REQUIRE, b"mysql_clear_password", ServerUntrusted),
        (Tls.VERIFY_FULL, b"caching_sha2_password", TlsRequired),
    ],
)
async def test_a_stranger_with_tls_gets_no_password_either(
    tmp_path: Path, tls: Tls, plugin: bytes, kind: type[BulkheadError]
) -> None:
    for name, content in make_certificates("localhost").items():
        (tmp_path / name).write_bytes(content)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.crt", tmp_path / "server.key")

    async def behave(talk: Talk) -> None:
        first = plugin if plugin != b"mysql_clear_password" else b"mysql_native_password"
        await talk.say(greeting(first, capabilities=CAPABILITIES | WITH_TLS))
        await talk.start_tls(context)
        await talk.hear()
        if plugin == b"mysql_clear_password":
            await talk.say(switch(plugin, b""))
        else:
            await talk.say(b"\x01\x04")

    async with rogue_mysql(behave) as rogue:
        with pytest.raises(kind):
            await connect(rogue.port, tls)
        assert_secret(rogue.heard)


@pytest.mark.parametrize(
    ("sql", "args", "timeout_s"), [("select 1", (), 30), ("select %s", (1,), 0.5)]
)
async def test_no_file_is_handed_out(sql: str, args: tuple[object, ...], timeout_s: float) -> None:
    async def behave(talk: Talk) -> None:
        await talk.log_in()
        await talk.hear()
        await talk.say(b"\xfb" + FILE.encode())

    async with rogue_mysql(behave) as rogue:
        connection = await connect(rogue.port)
        with pytest.raises((ServerSuspicious, ConnectionLost, StatementTimeout)) as caught:
            await connection.fetch(sql, args, timeout_s=timeout_s)
        assert args or caught.value.message.endswith(
            "asked for a file of this machine, and did not get it."
        )
        assert connection.is_closed()
        assert Path(FILE).read_bytes().strip() not in rogue.heard


async def test_a_file_that_is_asked_for_at_once_is_not_handed_out() -> None:
    async def behave(talk: Talk) -> None:
        await talk.say(greeting())
        await talk.hear()
        await talk.say(b"\0\0\0\2\0\0\0")
        await talk.hear()
        await talk.say(b"\xfb" + FILE.encode())

    async with rogue_mysql(behave) as rogue:
        with pytest.raises(ServerSuspicious):
            await connect(rogue.port)
        assert Path(FILE).read_bytes().strip() not in rogue.heard


async def flood(talk: Talk) -> None:
    """Say one packet of 16 MB after the other."""
    while True:
        await talk.say(bytes(2**24 - 1))


async def test_an_endless_greeting_is_not_listened_to() -> None:
    async with rogue_mysql(flood) as rogue:
        with pytest.raises(BulkheadError):
            await connect(rogue.port)


async def test_an_endless_answer_ends_the_connection() -> None:
    async def behave(talk: Talk) -> None:
        await talk.log_in()
        await talk.hear()
        await flood(talk)

    async with rogue_mysql(behave) as rogue:
        connection = await connect(rogue.port)
        connection.raw.answer_bytes_max = 2**21
        with pytest.raises(ResultTooLarge, match="2097152 bytes"):
            await connection.fetch("select 1", (), timeout_s=30)
        assert connection.is_closed()


async def test_what_nobody_asked_for_fills_no_memory() -> None:
    async def behave(talk: Talk) -> None:
        await talk.log_in()
        await flood(talk)

    async with rogue_mysql(behave) as rogue:
        connection = await connect(rogue.port)
        connection.raw.answer_bytes_max = 2**20
        async with asyncio.timeout(30):
            await connection.raw._proto.wait_closed()
        assert connection.is_closed()
        assert len(connection.raw._proto.buffer) < 2**23


async def silent_at_once(talk: Talk) -> None:
    await talk.hear()


async def silent_after_the_greeting(talk: Talk) -> None:
    await talk.say(greeting())
    await talk.hear()
    await talk.hear()


async def silent_after_the_login(talk: Talk) -> None:
    await talk.say(greeting())
    await talk.hear()
    await talk.say(b"\0\0\0\2\0\0\0")
    await talk.hear()
    await talk.hear()


@pytest.mark.parametrize(
    "behave", [silent_at_once, silent_after_the_greeting, silent_after_the_login]
)
async def test_a_server_that_hangs_is_left(behave: Behave) -> None:
    async with rogue_mysql(behave) as rogue:
        with pytest.raises(ServerUnreachable, match=r"0\.2 s"):
            await connect(rogue.port, timeout_s=0.2)


async def test_a_statement_without_an_answer_is_given_up() -> None:
    async def behave(talk: Talk) -> None:
        await talk.log_in()
        await talk.hear()
        await talk.hear()

    async with rogue_mysql(behave) as rogue:
        connection = await connect(rogue.port)
        with pytest.raises(StatementTimeout):
            await connection.fetch("select 1", (), timeout_s=0.1)
        assert connection.is_closed()


async def test_an_old_server_gets_no_password() -> None:
    async def behave(talk: Talk) -> None:
        await talk.say(greeting(version=b"5.7.44"))

    async with rogue_mysql(behave) as rogue:
        with pytest.raises(CapabilityMissing):
            await connect(rogue.port)
        assert rogue.heard == b""


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(nonsense=st.binary(max_size=80), number=st.integers(0, 3))
async def test_nonsense_is_an_error_of_ours(nonsense: bytes, number: int) -> None:
    async def behave(talk: Talk) -> None:
        good = [greeting(), b"\0\0\0\2\0\0\0", b"\0\0\0\2\0\0\0"]
        for payload in good[:number]:
            await talk.say(payload)
            await talk.hear()
        await talk.say(nonsense)
        talk.writer.write_eof()

    async with rogue_mysql(behave) as rogue:
        try:
            connection = await connect(rogue.port)
            await connection.fetch("select 1", (), timeout_s=5)
        except BulkheadError:
            pass
        else:
            connection.terminate()
        assert_secret(rogue.heard)
