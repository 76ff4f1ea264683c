"""Connections to MySQL and MariaDB that give a hostile server nothing.

The protocol lets the server ask for a password in the clear, for one encrypted with a key of the
server's own, and for any file that the client can read. asyncmy refuses only the last; here all
three are refused, TLS is never silently gone without, and answers are bounded in size. Nothing but
the target decides about a connection: no option file, no environment.
"""

import asyncio
import re
import socket
import ssl
from collections.abc import Awaitable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from asyncmy.connection import Connection, _MySQLProtocol
from asyncmy.constants import CLIENT

from bulkhead.engine.authorities import client_context
from bulkhead.engine.drivers.endpoint import APPLICATION_NAME, Endpoint, Session, Tls
from bulkhead.engine.drivers.errors import CapabilityMissing, StatementTimeout, TlsRequired
from bulkhead.engine.drivers.foreign_frames import ServerUntrusted
from bulkhead.engine.drivers.mysql_errors import ResultTooLarge, translate_connect
from bulkhead.engine.errors import BulkheadError

ANSWER_BYTES_MAX = 64 * 1024 * 1024
"""Of one statement, as it travels; a larger one costs the connection."""
GREETING_BYTES_MAX = 1024 * 1024
CLEAR_TEXT = "asks for the password in the clear"
CLEAR_TEXT_PLUGINS = ("mysql_clear_password", "dialog", "mysql_old_password")
SHA256_PLUGIN = "sha256_password"
VERSION_MIN_MARIADB = 100600
VERSION_MIN_MYSQL = 80000


@dataclass(frozen=True, slots=True)
class Target:
    """A server, and how it is reached."""

    host: str
    """A host name, an address, or the path of a Unix socket."""
    port: int
    tls: Tls
    is_local: bool = False
    """Whether nothing leaves the machine."""
    ca_file: Path | None = None
    ca_pem: str | None = None
    """Certificates to trust instead of the system's."""

    @classmethod
    def of(cls, endpoint: Endpoint, *, verified: bool = False, ca_pem: str | None = None) -> Self:
        """The target of an endpoint whose host is a name, an address, or the path of a socket."""
        return cls(
            endpoint.host,
            endpoint.port,
            endpoint.tls_for(verified=verified),
            endpoint.is_local,
            endpoint.ca_file,
            ca_pem,
        )

    @property
    def name(self) -> str:
        """A stable name without a secret."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.is_socket else f"{host}:{self.port}"

    @property
    def is_socket(self) -> bool:
        """Whether the host is the path of a Unix socket."""
        return self.host.startswith("/")

    @property
    def is_trusted(self) -> bool:
        """Whether it is certain who is at the other end, and nobody in between can listen."""
        if self.tls is Tls.DISABLE:
            return self.is_socket
        return self.is_local or self.tls is not Tls.REQUIRE


class GuardedConnection(Connection):  # type: ignore[misc] # built by Cython
    """asyncmy's connection with what it lacks of caution."""

    _proto: Any

    def __init__(self, target: Target, session: Session, wire: socket.socket | None) -> None:
        """Prepare; `connect` connects, over `wire` where there is one. Bound it yourself."""
        refused = {plugin: _refusal(target) for plugin in CLEAR_TEXT_PLUGINS}
        super().__init__(
            host=target.host,
            port=target.port,
            unix_socket=target.host if target.is_socket else None,
            sock=wire,
            user=session.user,
            # asyncmy encodes text as Latin-1.
            password=session.password.encode(),
            database=session.database or None,
            charset="utf8mb4",
            autocommit=None,
            local_infile=False,
            auth_plugin_map=refused,
            # An UPDATE counts the rows it found, as PostgreSQL's does.
            client_flag=CLIENT.FOUND_ROWS,
            program_name=APPLICATION_NAME,
        )
        # With a time-out asyncmy waits by `asyncio.wait_for`, which before Python 3.12 forgets that
        # its task was cancelled when that happens as the connection is made.
        self._connect_timeout = None
        # Given to asyncmy together with `wire`, it would be used before the greeting.
        self._later_context = _context(target)
        self._client_flag &= ~(CLIENT.MULTI_STATEMENTS | CLIENT.LOCAL_FILES)
        self.target = target
        self.answer_bytes_max = ANSWER_BYTES_MAX
        self.end: BulkheadError | None = None
        """Why it was given up, where it was."""
        self.is_expired = False
        self._received_bytes = 0
        self._is_counted = False

    @property
    def _secure(self) -> bool:
        """Whether asyncmy may send the password itself, as MySQL's sha2 plugins want it."""
        return bool(self.target.is_trusted)

    @_secure.setter
    def _secure(self, value: bool) -> None:
        """The target decides, not asyncmy."""

    @property
    def _server_public_key(self) -> bytes | None:
        """The key to encrypt the password with, which anybody in between could have made."""
        if not self.target.is_local:
            raise ServerUntrusted(server=self.target.name, reason=CLEAR_TEXT)
        return self._known_key

    @_server_public_key.setter
    def _server_public_key(self, value: bytes | None) -> None:
        self._known_key = value

    async def _get_server_information(self) -> None:
        await super()._get_server_information()
        target = self.target
        verify_version(target.name, self.server_version)
        if self._later_context is not None:
            if not self.server_capabilities & CLIENT.SSL:
                raise TlsRequired(server=target.name, reason="the server does not offer TLS")
            self._ssl_context = self._later_context
            self._client_flag |= CLIENT.SSL
        if self._auth_plugin_name == SHA256_PLUGIN and not target.is_trusted:
            raise ServerUntrusted(server=target.name, reason=CLEAR_TEXT)

    def _fill_buffer(self, need: int) -> Awaitable[None]:
        """Count what comes before the protocol does that itself."""
        return super()._fill_buffer(need) if self._is_counted else self._fill_counted(need)

    async def _fill_counted(self, need: int) -> None:
        protocol = self._proto
        before = protocol.length - protocol.pos
        await super()._fill_buffer(need)
        self._received_bytes += protocol.length - protocol.pos - before
        if self._received_bytes > GREETING_BYTES_MAX:
            raise ResultTooLarge(sqlstate="54000", size_bytes_max=GREETING_BYTES_MAX)

    def restart(self) -> None:
        """Begin to count anew, for the next statement."""
        self._proto.received_bytes = 0

    def expire(self) -> None:
        """Give up, because the time of a statement is over."""
        if self.end is None:
            self.end = StatementTimeout(sqlstate="57014")
            self.is_expired = True
        self.abort()

    def overflow(self) -> None:
        """Give up, because more comes than may."""
        if self.end is None:
            self.end = ResultTooLarge(sqlstate="54000", size_bytes_max=self.answer_bytes_max)
        self.abort()

    @property
    def is_broken(self) -> bool:
        """Whether it cannot be used any more."""
        return not self._connected or bool(self._stream_broken)

    def abort(self) -> None:
        """Close it at once, without a word to the server."""
        if self._transport is not None:
            self._transport.abort()
        self.close()

    def count_itself(self) -> None:
        """Let a server that talks too much fill no memory, also when nothing was asked."""
        known: Any = self._proto
        counted = _CountingProtocol(self._loop)
        counted.connection = self
        counted.transport = self._transport
        counted.buffer, counted.length, counted.pos = known.buffer, known.length, known.pos
        counted.eof, counted.exc = known.eof, known.exc
        self._transport.set_protocol(counted)
        self._proto = counted
        self._is_counted = True


class _CountingProtocol(_MySQLProtocol):  # type: ignore[misc] # built by Cython
    connection: GuardedConnection
    received_bytes = 0

    def buffer_updated(self, nbytes: int) -> None:
        super().buffer_updated(nbytes)
        self.received_bytes += nbytes
        if self.received_bytes > self.connection.answer_bytes_max:
            self.connection.overflow()


async def open_raw(
    target: Target, session: Session, *, timeout_s: float, wire: socket.socket | None = None
) -> GuardedConnection:
    """Connect, within `timeout_s` altogether; raises what `translate_connect` renders.

    `wire` is a socket that leads to the target already, as the egress guard opens one.
    """
    raw: GuardedConnection | None = None
    try:
        async with asyncio.timeout(timeout_s):
            raw = GuardedConnection(target, session, wire)
            await raw.connect()
            raw.count_itself()
    except Exception as error:
        if raw is not None:
            raw.abort()
        if wire is not None:
            wire.close()
        raise translate_connect(
            error,
            server=target.name,
            role=session.user,
            database=session.database,
            timeout_s=timeout_s,
        ) from error
    return raw


def verify_version(server: str, version: str) -> int:
    """The number of a server's version, 101106 for 10.11.6; raises CapabilityMissing."""
    number = parse_version(version)
    if number < (VERSION_MIN_MARIADB if is_mariadb(version) else VERSION_MIN_MYSQL):
        raise CapabilityMissing(
            server=server,
            capability="MySQL 8.0 or MariaDB 10.6 or later",
            remedy="Upgrade the server, or name another one.",
        )
    return number


def parse_version(version: str) -> int:
    """`10.11.6-MariaDB` is 101106, as is `5.5.5-10.11.6-MariaDB`, which MariaDB greets with."""
    match = re.match(r"(?:5\.5\.5-)?(\d{1,3})\.(\d{1,2})\.(\d{1,2})", version, re.ASCII)
    if match is None:
        return 0
    major, minor, patch = map(int, match.groups())
    return major * 10000 + minor * 100 + patch


def is_mariadb(version: str) -> bool:
    """Whether a version is MariaDB's."""
    return "mariadb" in version.lower()


def _refusal(target: Target) -> Any:  # noqa: ANN401 - asyncmy wants a class
    class Refusal:
        def __init__(self, connection: object) -> None:
            """Made by asyncmy when the server asks for the plugin."""

        def authenticate(self, _packet: object) -> None:
            raise ServerUntrusted(server=target.name, reason=CLEAR_TEXT)

    return Refusal


def _context(target: Target) -> ssl.SSLContext | None:
    if target.tls is Tls.DISABLE or target.is_socket:
        return None
    try:
        return client_context(
            ca_file=target.ca_file,
            ca_pem=target.ca_pem,
            verified=target.tls is not Tls.REQUIRE,
            names_verified=target.tls is Tls.VERIFY_FULL,
        )
    except (OSError, ValueError) as error:
        raise TlsRequired(
            server=target.name, reason="what is named as its authority holds no certificates"
        ) from error
