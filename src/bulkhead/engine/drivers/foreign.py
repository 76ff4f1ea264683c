"""Connections to PostgreSQL servers that customers name: pinned, verified, and checked throughout.

The server may be hostile. So asyncpg gets the real event loop with two things taken over: where a
connection goes, which is the address that the egress guard has checked, whatever the name leads to
by now; and what arrives, every message of which passes `FrameCheck` first. Certificates are
verified for the name. Nothing that the server says is repeated.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import asyncpg
import asyncpg.protocol
from asyncpg.connect_utils import SessionAttribute

from bulkhead.engine.authorities import client_context
from bulkhead.engine.drivers.endpoint import APPLICATION_NAME, Session, Tls
from bulkhead.engine.drivers.errors import (
    FAILURES,
    ServerUnreachable,
    TlsRequired,
)
from bulkhead.engine.drivers.foreign_frames import FrameCheck
from bulkhead.engine.drivers.refusals import translate_connect
from bulkhead.engine.egress import Target
from bulkhead.engine.errors import BulkheadError

log = logging.getLogger(__name__)

STATEMENTS_CACHED: Final = 100


@dataclass(frozen=True, slots=True)
class Trust:
    """How a foreign server proves which it is."""

    tls: Tls = Tls.VERIFY_FULL
    """On a public network it is always verified."""
    ca_pem: str | None = None
    """Certificates to trust instead of the system's."""


async def open_foreign(
    target: Target,
    session: Session,
    trust: Trust = Trust(),
    *,
    timeout_s: float,
    pooled: bool = False,
    settings: Mapping[str, str] | None = None,
) -> Any:  # noqa: ANN401
    """Open an asyncpg connection to `target` within `timeout_s`, by SCRAM-SHA-256 only.

    Raises ServerUntrusted, HostUnreachable, TlsRequired, LoginRefused, DatabaseMissing,
    ServerUnreachable. `pooled` and `settings` are those of `open_connection`.
    """
    name = f"{target.host}:{target.port}"
    frames = FrameCheck(name)
    loop: Any = _Loop(asyncio.get_running_loop(), target, frames, timeout_s)
    try:
        async with asyncio.timeout(timeout_s):
            return await asyncpg.connect(
                host=target.host,
                port=target.port,
                user=session.user,
                password=session.password,
                database=session.database,
                ssl=_context(target, trust),
                direct_tls=False,
                timeout=timeout_s,
                target_session_attrs=SessionAttribute.any,
                statement_cache_size=0 if pooled else STATEMENTS_CACHED,
                server_settings={"application_name": APPLICATION_NAME, **(settings or {})},
                connection_class=_Connection,
                loop=loop,
            )
    except Exception as error:
        loop.abort()
        if frames.refusal is not None:
            raise frames.refusal from None
        if not isinstance(error, (BulkheadError, *FAILURES)):
            # asyncpg takes what a server says of itself for granted.
            raise ServerUnreachable(server=name, reason="it is not PostgreSQL") from None
        raise translate_connect(
            error,
            server=name,
            role=session.user,
            database=session.database,
            timeout_s=timeout_s,
        ) from error


def _context(target: Target, trust: Trust) -> ssl.SSLContext | bool:
    verified = trust.tls is Tls.VERIFY_FULL or (trust.tls is Tls.VERIFY_CA and trust.ca_pem)
    if not verified and not target.is_inside:
        raise TlsRequired(
            server=f"{target.host}:{target.port}",
            reason="on a public network its certificate must be verified",
        )
    if trust.tls is Tls.DISABLE:
        return False
    try:
        return client_context(
            ca_pem=trust.ca_pem,
            verified=trust.tls is not Tls.REQUIRE,
            names_verified=trust.tls is Tls.VERIFY_FULL,
        )
    except (ssl.SSLError, ValueError):
        raise TlsRequired(
            server=f"{target.host}:{target.port}", reason="the given CA holds no certificates"
        ) from None


class _Connection(asyncpg.Connection):
    """asyncpg's, which never opens another connection by itself."""

    def __init__(self, protocol: Any, transport: Any, loop: _Loop, *rest: Any) -> None:  # noqa: ANN401
        super().__init__(protocol, transport, loop.real, *rest)

    async def _cancel(self, waiter: Any, cancel_waiter: Any = None) -> None:  # noqa: ANN401, ARG002
        """End the connection instead of asking the server, wherever it is by now, to stop."""
        try:
            self.terminate()
        finally:
            if not waiter.done():
                waiter.set_result(None)


class _Loop:
    """The running loop, whose connections go to `target` and are checked."""

    def __init__(
        self,
        real: asyncio.AbstractEventLoop,
        target: Target,
        frames: FrameCheck,
        timeout_s: float,
    ) -> None:
        self.real = real
        self._target = target
        self._frames = frames
        self._timeout_s = timeout_s
        self._transport: Any = None

    def abort(self) -> None:
        """Close what asyncpg has left open."""
        if self._transport is not None:
            self._transport.abort()

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        return getattr(self.real, name)

    async def create_connection(
        self,
        factory: Callable[[], asyncio.Protocol],
        host: str,  # noqa: ARG002 - pinned
        port: int,  # noqa: ARG002
    ) -> tuple[Any, asyncio.Protocol]:
        wire = await self._target.connect(timeout_s=self._timeout_s)
        inner = factory()
        outer = self._checked(inner)
        try:
            transport, _ = await self.real.create_connection(lambda: outer, sock=wire)
            self._transport = transport
        except BaseException:
            wire.close()
            raise
        return transport, inner

    async def start_tls(
        self,
        transport: Any,  # noqa: ANN401
        protocol: asyncio.Protocol,
        context: ssl.SSLContext,
        **_: object,
    ) -> Any:  # noqa: ANN401
        host = self._target.host
        made = await self.real.start_tls(transport, protocol, context, server_hostname=host)
        return None if made is None else _Transport(made, self)

    def _checked(self, protocol: asyncio.Protocol) -> asyncio.Protocol:
        if isinstance(protocol, asyncpg.protocol.Protocol):
            return _Checked(protocol, self)
        return protocol  # The one that asks for TLS and takes one byte.

    @property
    def frames(self) -> FrameCheck:
        return self._frames


class _Transport:
    """A transport that tells of what is sent and taken, and lets no protocol listen unchecked."""

    def __init__(self, real: Any, loop: _Loop) -> None:  # noqa: ANN401
        self._real = real
        self._loop = loop
        self.write = self._noting(real.write)
        self.writelines = self._noting(real.writelines)
        self.resume_reading = self._noting(real.resume_reading)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        return getattr(self._real, name)

    def set_protocol(self, protocol: asyncio.Protocol) -> None:
        checked = self._loop._checked(protocol)  # noqa: SLF001
        if isinstance(checked, _Checked):
            checked.transport = self._real
        self._real.set_protocol(checked)

    def _noting(self, act: Callable[..., None]) -> Callable[..., None]:
        note = self._loop.frames.note_taken

        def noted(*args: Any) -> None:  # noqa: ANN401
            note()
            act(*args)

        return noted


class _Checked(asyncio.Protocol):
    """asyncpg's protocol behind the check of what arrives."""

    def __init__(self, inner: Any, loop: _Loop) -> None:  # noqa: ANN401
        self._inner = inner
        self._loop = loop
        self._check = loop.frames.check
        self._hear = inner.data_received
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:  # noqa: ANN401
        self.transport = transport
        self._inner.connection_made(_Transport(transport, self._loop))

    def data_received(self, data: bytes) -> None:
        if self._check(data):
            self._hear(data)
        else:
            log.warning("%s", self._loop.frames.refusal)
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._inner.connection_lost(exc or self._loop.frames.refusal)

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()
