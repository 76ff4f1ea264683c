"""HTTP by hand, for what no well-behaved client would send."""

import asyncio
from dataclasses import dataclass

from bulkhead.web.serving import Serving

ANSWER_S_MAX = 10.0


@dataclass(frozen=True, slots=True)
class RawAnswer:
    """What came back before the connection was closed."""

    text: str
    sent_bytes: int
    """How much the server let us send."""

    @property
    def status(self) -> int:
        """The status of the last answer; 0 when there was none."""
        lines = [line for line in self.text.split("\r\n") if line.startswith("HTTP/1.1 ")]
        return int(lines[-1].split()[1]) if lines else 0


async def send_raw(serving: Serving, *pieces: bytes) -> RawAnswer:
    """Send the pieces and read until the server closes the connection, which it must."""
    reader, writer = await asyncio.open_connection(serving.host, serving.port)
    sent_bytes = 0
    async with asyncio.timeout(ANSWER_S_MAX):
        try:
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                sent_bytes += len(piece)
        except ConnectionError:
            pass
        try:
            received = await reader.read()
        except ConnectionError:
            received = b""
    writer.close()
    return RawAnswer(received.decode("latin-1"), sent_bytes)
