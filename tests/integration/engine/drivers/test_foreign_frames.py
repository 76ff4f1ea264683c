"""What the check of a foreign server's messages lets through, however they are cut."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.integration.engine.drivers.rogue_server import (
    OK,
    READY,
    SASL,
    message,
    request,
    server_first,
)

from bulkhead.engine.drivers.foreign_frames import FrameCheck

LOGGED_IN = (
    SASL
    + server_first("abcdefgh")
    + request(12, b"v=" + b"A" * 43 + b"=")
    + OK
    + message(b"S", b"client_encoding\0UTF8\0")
    + message(b"S", b"server_version\x0018.6 (Debian 18.6-1)\0")
    + READY
)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 64, 10_000])
@pytest.mark.parametrize("name", [b"zlib", b"UTF88", b"zlib" + b"-" * 300, b"'zlib'", b"'utf-8'x"])
def test_the_check_does_not_depend_on_how_messages_are_cut(size: int, name: bytes) -> None:
    good = LOGGED_IN + message(b"S", b"client_encoding\0UTF8\0") + message(b"D", b"x" * 300)
    stream = good + message(b"S", b"client_encoding\0" + name + b"\0")
    frames = FrameCheck("server")
    passed = [frames.check(stream[at : at + size]) for at in range(0, len(stream), size)]
    assert all(passed[: len(good) // size])
    assert not passed[-1]
    assert frames.is_logged_in
    assert "encoding" in str(frames.refusal)


@pytest.mark.parametrize("size", [1, 5, 64, 10_000])
def test_poolers_give_the_encoding_back_as_it_was_asked_for(size: int) -> None:
    told = message(b"S", b"client_encoding\0'utf-8'\0")
    stream = LOGGED_IN.replace(message(b"S", b"client_encoding\0UTF8\0"), told) + told
    frames = FrameCheck("server")
    assert all(frames.check(stream[at : at + size]) for at in range(0, len(stream), size))


@given(st.lists(st.binary(max_size=40), max_size=5), st.integers(1, 50))
def test_a_row_may_say_what_it_likes(fields: list[bytes], size: int) -> None:
    texts = [*fields, b"client_encoding", b"S", b"zlib"]
    row = b"".join(struct.pack("!i", len(text)) + text for text in texts)
    stream = LOGGED_IN + message(b"D", struct.pack("!h", len(texts)) + row) + READY
    frames = FrameCheck("server")
    assert all(frames.check(stream[at : at + size]) for at in range(0, len(stream), size))


@given(st.binary(max_size=200), st.integers(1, 60))
def test_what_passes_has_only_possible_lengths(data: bytes, size: int) -> None:
    """By an impossible length asyncpg would go round in circles for ever."""
    frames = FrameCheck("server")
    assert frames.check(LOGGED_IN)
    passed = all(frames.check(data[at : at + size]) for at in range(0, len(data), size))
    position, possible = 0, True
    while possible and position + 5 <= len(data):
        length = struct.unpack_from("!i", data, position + 1)[0]
        possible = length >= 4
        position += length + 1
    assert passed == possible
