import pytest

from bulkhead.http.asgi import Message
from bulkhead.http.bodies import (
    DISCARD_BYTES_MAX,
    BodyMisframed,
    BodyTooLarge,
    ClientLeftError,
    Incoming,
    read_declared,
)


def test_a_request_without_length_or_chunks_has_no_body() -> None:
    assert read_declared([]).is_empty
    assert read_declared([(b"content-length", b"0")]).is_empty
    assert not read_declared([(b"content-length", b"1")]).is_empty
    assert not read_declared([(b"transfer-encoding", b"chunked")]).is_empty


@pytest.mark.parametrize(
    "headers",
    [
        [(b"content-length", b"3"), (b"content-length", b"4")],
        [(b"content-length", b"3"), (b"transfer-encoding", b"chunked")],
        [(b"content-length", b"-3")],
        [(b"content-length", b"3x")],
    ],
)
def test_a_body_whose_length_is_unclear_is_refused(headers: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(BodyMisframed):
        read_declared(headers)


class Wire:
    """What a server hands over, piece by piece."""

    def __init__(self, *messages: Message) -> None:
        self.messages = list(messages)

    async def receive(self) -> Message:
        return self.messages.pop(0)


def piece(body: bytes, *, more: bool = True) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}


async def test_a_body_is_put_together_from_its_pieces() -> None:
    wire = Wire(piece(b"ab"), piece(b""), piece(b"cd", more=False))
    assert await Incoming(wire.receive).read(4) == b"abcd"


async def test_a_body_of_unknown_length_is_read_no_further_than_its_limit() -> None:
    wire = Wire(piece(b"abc"), piece(b"de"), piece(b"f", more=False))
    with pytest.raises(BodyTooLarge):
        await Incoming(wire.receive).read(4)
    assert len(wire.messages) == 1


async def test_a_client_that_hangs_up_is_noticed() -> None:
    wire = Wire(piece(b"abc"), {"type": "http.disconnect"})
    with pytest.raises(ClientLeftError):
        await Incoming(wire.receive).read(4)


async def test_the_rest_of_a_refused_body_is_thrown_away() -> None:
    wire = Wire(piece(b"abc"), piece(b"de"), piece(b"f", more=False))
    incoming = Incoming(wire.receive)
    with pytest.raises(BodyTooLarge):
        await incoming.read(2)
    assert await incoming.discard(None)
    assert wire.messages == []


async def test_not_more_than_a_few_megabytes_are_thrown_away() -> None:
    wire = Wire(*[piece(b"a" * 1_000_000) for _ in range(200)])
    assert not await Incoming(wire.receive).discard(None)
    assert len(wire.messages) == 196
    assert not await Incoming(wire.receive).discard(DISCARD_BYTES_MAX + 1)
    assert len(wire.messages) == 196


async def test_a_body_that_was_read_whole_is_not_waited_for_again() -> None:
    incoming = Incoming(Wire(piece(b"abc", more=False)).receive)
    assert await incoming.read(4) == b"abc"
    assert await incoming.discard(3)
