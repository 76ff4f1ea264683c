"""A mail server on this machine that can refuse, hang and break off, to try ours on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage, Message
from email.policy import default


@dataclass
class SmtpServer:
    """Speaks as much of RFC 5321 as a client needs; `replies` overrides the answer to a verb."""

    port: int = 0
    replies: dict[str, str] = field(default_factory=dict)
    hangs_at: str = ""
    breaks_at: str = ""
    refused: str = ""
    """A recipient that there is not."""
    received: list[Message] = field(default_factory=list)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    connections: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            await self._converse(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        verb = "CONNECT"
        while verb:
            if verb == self.breaks_at:
                return
            if verb == self.hangs_at:
                await reader.read()
                return
            writer.write(f"{self.replies.get(verb, self._usual(verb))}\r\n".encode())
            await writer.drain()
            if verb == "DATA" and verb not in self.replies:
                raw = await reader.readuntil(b"\r\n.\r\n")
                verb = "MESSAGE"
                if verb not in self.replies and verb not in (self.hangs_at, self.breaks_at):
                    self.received.append(message_from_bytes(raw[:-5], policy=default))
                    self.arrived.set()
            elif verb == "QUIT":
                return
            else:
                line = (await reader.readline()).decode().strip()
                verb = line.split(" ")[0].upper()
                if self.refused and verb == "RCPT" and self.refused in line:
                    verb = "REFUSED"

    def _usual(self, verb: str) -> str:
        return {
            "CONNECT": "220 ready",
            "DATA": "354 go on",
            "QUIT": "221 bye",
            "REFUSED": "550 no such user",
        }.get(verb, "250 fine")

    @property
    def letters(self) -> list[EmailMessage]:
        """The mails that were accepted."""
        return [each for each in self.received if isinstance(each, EmailMessage)]


@asynccontextmanager
async def open_smtp_server() -> AsyncIterator[SmtpServer]:
    """A mail server on a free port."""
    server = SmtpServer()
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()
        await listener.wait_closed()
