"""HTTP/1.1 on one connection, bounded in time and size before a request is known.

uvicorn waits for ever for a first byte or for the end of the headers, and takes headers of any
size; a few hundred silent clients are then enough to exhaust a process.
"""

import asyncio
from asyncio import TimerHandle
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from bulkhead.web.joined_writes import JoinedWrites

HEAD_BYTES_MAX = 102_400
"""Above what any guard lets through, the longest address of a REST API and its headers; what is
larger is not even kept."""
URL_BYTES_MAX = 65_535
"""What the parser of addresses takes, and more than any guard does."""


class BoundedProtocol(HttpToolsProtocol):
    """Closes connections whose request line and headers do not arrive whole and in time.

    The time is uvicorn's `timeout_keep_alive`, the number of clients its `limit_concurrency`.
    """

    def __init__(self, *args: Any, **options: Any) -> None:  # noqa: ANN401
        """Take what uvicorn gives."""
        super().__init__(*args, **options)
        self._head_timer: TimerHandle | None = None
        self._head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start waiting for a request, or refuse one client too many."""
        super().connection_made(JoinedWrites(transport, self.loop))  # type: ignore[arg-type]
        if self.limit_concurrency is not None and len(self.connections) > self.limit_concurrency:
            transport.abort()
            return
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._forget_head()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what has come, and give up on a head that grows without end."""
        super().data_received(data)
        if self._head_timer is not None:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES_MAX:
                self._refuse(
                    b"431 Request Header Fields Too Large" if self.headers else b"414 URI Too Long"
                )

    def on_message_begin(self) -> None:
        """Wait for the rest of a head that has begun."""
        super().on_message_begin()
        if self._head_timer is None:
            self._expect_head()

    def on_headers_complete(self) -> None:
        """Serve the request."""
        self._forget_head()
        # What is cut off is still too long for every guard, each of which says so in its own way.
        self.url = self.url[:URL_BYTES_MAX]
        super().on_headers_complete()

    def _expect_head(self) -> None:
        self._head_bytes = 0
        self._head_timer = self.loop.call_later(
            self.timeout_keep_alive, self._refuse, b"408 Request Timeout"
        )

    def _forget_head(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _refuse(self, status: bytes) -> None:
        self._forget_head()
        if not self.transport.is_closing():
            if self._head_bytes:
                head = b"HTTP/1.1 %b\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
                self.transport.write(head % status)
            self.transport.close()
