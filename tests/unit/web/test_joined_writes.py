import asyncio
from typing import Any

from bulkhead.web.joined_writes import JoinedWrites


class Wire(asyncio.Transport):
    """A transport that only remembers."""

    def __init__(self) -> None:
        super().__init__()
        self.packets: list[bytes] = []
        self.ended = ""

    def write(self, data: Any) -> None:
        assert not self.ended
        self.packets.append(bytes(data))

    def close(self) -> None:
        self.ended = "closed"

    def abort(self) -> None:
        self.ended = "aborted"

    def is_closing(self) -> bool:
        return bool(self.ended)


def joined() -> tuple[Wire, JoinedWrites]:
    wire = Wire()
    return wire, JoinedWrites(wire, asyncio.get_running_loop())


async def test_head_and_body_become_one_packet() -> None:
    wire, transport = joined()
    transport.write(b"head,")
    transport.write(b"body")
    assert wire.packets == [b"head,body"]
    await asyncio.sleep(0)
    assert wire.packets == [b"head,body"]


async def test_what_is_written_alone_goes_at_the_end_of_the_turn() -> None:
    wire, transport = joined()
    transport.write(b"head")
    assert wire.packets == []
    await asyncio.sleep(0)
    assert wire.packets == [b"head"]


async def test_the_order_of_many_writes_is_kept_and_nothing_is_lost() -> None:
    wire, transport = joined()
    for number in range(7):
        transport.write(b"%d" % number)
        transport.write(b"")
        if number % 3 == 0:
            await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert b"".join(wire.packets) == b"0123456"


async def test_closing_sends_what_is_held_and_aborting_does_not() -> None:
    wire, transport = joined()
    transport.write(b"last words")
    transport.close()
    assert (wire.packets, wire.ended, transport.is_closing()) == ([b"last words"], "closed", True)
    wire, transport = joined()
    transport.write(b"never mind")
    transport.abort()
    await asyncio.sleep(0)
    assert (wire.packets, wire.ended) == ([], "aborted")
