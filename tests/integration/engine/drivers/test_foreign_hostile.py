"""Servers of customers that log in as they should and then do what they can."""

import asyncio
import resource
from collections.abc import Mapping
from typing import Any

import pytest
from tests.integration.engine.drivers.rogue_server import (
    READY,
    Behave,
    Reader,
    Writer,
    log_in,
    message,
    read_message,
    rogue,
)
from tests.integration.engine.drivers.test_foreign import PASSWORD, dial

from bulkhead.engine.drivers.errors import (
    ConnectionLost,
    RaisedBySql,
    StatementTimeout,
)
from bulkhead.engine.drivers.foreign_frames import ServerUntrusted
from bulkhead.engine.drivers.postgres_connection import PostgresConnection
from bulkhead.engine.errors import BulkheadError

MB = 1024 * 1024
GROWTH_MB_MAX = 200


def answering(answer: bytes, *, endless: bool = False) -> Behave:
    """Log in, then answer the first query with `answer`, once or for ever."""

    async def behave(reader: Reader, writer: Writer) -> None:
        await log_in(reader, writer, PASSWORD)
        await read_message(reader)
        writer.write(answer)
        while endless:
            await writer.drain()
            writer.write(answer)

    return behave


def logging_in(settings: Mapping[str, str]) -> Behave:
    async def behave(reader: Reader, writer: Writer) -> None:
        await log_in(reader, writer, PASSWORD, settings=settings)

    return behave


async def query(port: int, *, timeout_s: float = 5.0) -> Any:
    connection = PostgresConnection(await dial(port))
    try:
        return await connection.fetch("select 1", (), timeout_s=timeout_s)
    finally:
        connection.terminate()


def error(text: str) -> bytes:
    fields = {"S": "ERROR", "V": "ERROR", "C": "P0001", "M": text, "R": "exec_stmt_raise"}
    body = "".join(f"{key}{value}\0" for key, value in fields.items())
    return message(b"E", body.encode() + b"\0") + READY


async def test_a_server_that_knows_the_password_is_let_in() -> None:
    async with rogue(logging_in({})) as (port, _):
        connection = await dial(port)
        assert connection.get_server_version().major == 18
        connection.terminate()


@pytest.mark.parametrize("version", ["", "x", "\u0661\u0668", "9" * 20 + ".x", "18\x1b[2J"])
async def test_a_strange_version_is_no_crash(version: str) -> None:
    async with rogue(logging_in({"server_version": version})) as (port, _):
        with pytest.raises(ServerUntrusted, match="which PostgreSQL"):
            await dial(port)


@pytest.mark.parametrize("encoding", ["zlib", "unicode_escape", "LATIN1", "rot13", ""])
async def test_another_encoding_is_refused(encoding: str) -> None:
    async with rogue(logging_in({"client_encoding": encoding})) as (port, _):
        with pytest.raises(ServerUntrusted, match="encoding"):
            (await dial(port)).terminate()


@pytest.mark.parametrize(
    "answer",
    [
        message(b"N", b"SNOTICE\0M" + b"x" * 100_000 + b"\0\0"),
        message(b"S", b"search_path\0" + b"x" * 100_000 + b"\0"),
        message(b"D", b"\0\1\0\1\x86\xa0" + b"x" * 100_000),
        message(b"t", b"\0\0"),
    ],
    ids=["notices", "settings", "rows", "parameters"],
)
async def test_an_answer_without_end_is_cut_off(answer: bytes) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    async with rogue(answering(answer, endless=True)) as (port, _):
        with pytest.raises(BulkheadError):
            await query(port, timeout_s=2)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert (after - before) / 1024 < GROWTH_MB_MAX


async def test_one_message_without_end_is_cut_off() -> None:
    head = b"D" + (2**31 - 1).to_bytes(4, "big")

    async def behave(reader: Reader, writer: Writer) -> None:
        await log_in(reader, writer, PASSWORD)
        await read_message(reader)
        writer.write(head)
        while True:
            writer.write(b"x" * MB)
            await writer.drain()

    async with rogue(behave) as (port, _):
        with pytest.raises(ConnectionLost):
            await query(port)


async def test_a_server_that_does_not_answer_costs_the_time_that_was_given() -> None:
    async with rogue(answering(b"")) as (port, _):
        async with asyncio.timeout(30):
            with pytest.raises((StatementTimeout, ConnectionLost)):
                await query(port, timeout_s=0.3)


async def test_what_it_says_is_repeated_within_bounds_only() -> None:
    async with rogue(answering(error("\x1b[2J<script>\u202e" + "x" * 90_000))) as (port, _):
        with pytest.raises(RaisedBySql) as caught:
            await query(port)
    text = str(caught.value.to_json())
    assert len(text) < 5000
    assert "\x1b" not in caught.value.message
    assert "\u202e" not in caught.value.message


NONSENSE = [
    b"\0" * 100,
    b"Z\0\0\0\0",
    b"1\xff\xff\xff\xff",
    b"Z\0\0\0\4",
    b"D\0\0\0\4",
    b"T\0\0\0\6\xff\xff",
    b"E\0\0\0\5x",
    b"1\0\0\0\4" * 9,
]


@pytest.mark.parametrize("answer", NONSENSE)
async def test_nonsense_is_an_error_of_ours(answer: bytes) -> None:
    async with rogue(answering(answer)) as (port, _):
        with pytest.raises(BulkheadError):
            await query(port, timeout_s=0.3)
