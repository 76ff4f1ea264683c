"""A name server on loopback whose answers change, and a resolver that asks it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import dns.asyncresolver
import dns.message
import dns.rrset


@dataclass(slots=True, eq=False)
class NameServer(asyncio.DatagramProtocol):
    """Gives the addresses of `answers` in turn, with a time to live of nothing."""

    answers: Sequence[str]
    asked: list[str] = field(default_factory=list)
    port: int = 0
    _wire: Any = None

    def connection_made(self, transport: Any) -> None:
        self._wire = transport
        self.port = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        query = dns.message.from_wire(data)
        question = query.question[0]
        address = self.answers[min(len(self.asked), len(self.answers) - 1)]
        self.asked.append(question.name.to_text())
        reply = dns.message.make_response(query)
        reply.answer.append(dns.rrset.from_text(question.name, 0, "IN", "A", address))
        self._wire.sendto(reply.to_wire(), addr)

    async def resolve(self, host: str, _: int) -> Sequence[str]:
        resolver = dns.asyncresolver.Resolver(configure=False)
        resolver.nameservers = ["127.0.0.1"]
        resolver.port = self.port
        return [str(each) for each in await resolver.resolve(host, "A")]


@asynccontextmanager
async def name_server(*answers: str) -> AsyncIterator[NameServer]:
    made = NameServer(answers)
    loop = asyncio.get_running_loop()
    wire, _ = await loop.create_datagram_endpoint(lambda: made, ("127.0.0.1", 0))
    try:
        yield made
    finally:
        wire.close()
