"""Sends what is written in one turn of the event loop as one packet.

uvicorn writes the head of an answer and then its body. As two packets they wake whoever reads
twice, and the first time for nothing; with small answers that is a fifth of the whole request.
"""

import asyncio
from typing import Any


class JoinedWrites:
    """A transport that holds the first write back until the second one, or the end of the turn.

    What uvicorn asks of a transport, in the order it was asked: nothing overtakes what is held.
    """

    __slots__ = ("_held", "_loop", "_transport")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        """Write to `transport`, which runs in `loop`."""
        self._transport = transport
        self._loop = loop
        self._held = b""

    def write(self, data: bytes) -> None:
        """Write `data` after what was written before, by the end of this turn."""
        if self._held:
            held, self._held = self._held, b""
            self._transport.write(held + data)
        elif data:
            self._held = data
            self._loop.call_soon(self._flush)

    def close(self) -> None:
        """Close once everything has been written."""
        self._flush()
        self._transport.close()

    def abort(self) -> None:
        """Close now, whatever has not been written."""
        self._held = b""
        self._transport.abort()

    def is_closing(self) -> bool:
        """Whether it was closed, or will be once everything has been written."""
        return self._transport.is_closing()

    def get_extra_info(self, name: str, default: Any = None) -> Any:  # noqa: ANN401
        """What is known of the connection."""
        return self._transport.get_extra_info(name, default)

    def pause_reading(self) -> None:
        """Take in no more for now."""
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Go on taking in."""
        self._transport.resume_reading()

    def _flush(self) -> None:
        held, self._held = self._held, b""
        if held and not self._transport.is_closing():
            self._transport.write(held)
