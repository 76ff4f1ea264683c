"""Where a server is and how to reach it safely: strict DSNs, TLS verified unless told otherwise.

libpq and asyncpg read much more than a DSN says: environment variables, password and service
files, host lists. Here a connection depends on nothing but its endpoint.
"""

import ipaddress
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlencode, urlsplit

import asyncpg
from asyncpg.connect_utils import SessionAttribute

from bulkhead.engine.authorities import client_context
from bulkhead.engine.drivers.errors import FAILURES, TlsRequired
from bulkhead.engine.drivers.refusals import translate_connect
from bulkhead.engine.errors import ConfigurationInvalid

APPLICATION_NAME = "bulkhead"
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9.])?")
_PORT_MAX = 65535


class Tls(StrEnum):
    """How much of TLS is asked for; libpq's words without those that protect nobody."""

    DISABLE = "disable"
    REQUIRE = "require"
    """Encrypted, but anybody may be at the other end."""
    VERIFY_CA = "verify-ca"
    VERIFY_FULL = "verify-full"


@dataclass(frozen=True, slots=True)
class Session:
    """Who connects to which database of an endpoint."""

    user: str
    password: str = field(repr=False)
    database: str
    verified: bool = False
    """Whether the database asks for verified TLS whatever the endpoint says."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A server and the administrator's login there."""

    host: str
    """A host name, an address, or the directory of a Unix socket."""
    port: int
    user: str
    password: str = field(repr=False)
    database: str = "postgres"
    """The maintenance database, from which others are created."""
    tls: Tls | None = None
    """None: verified in full, except for loopback and sockets, where there is none."""
    ca_file: Path | None = None
    """Certificates to trust instead of the system's."""

    @property
    def is_local(self) -> bool:
        """Whether nothing leaves the machine."""
        if self.host.startswith("/") or self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def name(self) -> str:
        """A stable name without a secret."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def tls_for(self, *, verified: bool) -> Tls:
        """How to connect when the database asks for `verified` TLS."""
        if verified and not self.is_local:
            return Tls.VERIFY_FULL
        if self.tls is not None:
            return self.tls
        return Tls.DISABLE if self.is_local else Tls.VERIFY_FULL

    def administrator(self, database: str | None = None, *, verified: bool = False) -> Session:
        """The administrator in `database`, else in the maintenance database."""
        return Session(self.user, self.password, database or self.database, verified)

    def url(self, session: Session) -> str:
        """Render a libpq URL; it holds the password."""
        query = {"sslmode": self.tls_for(verified=session.verified).value}
        if self.ca_file is not None:
            query["sslrootcert"] = str(self.ca_file)
        elif query["sslmode"].startswith("verify"):
            query["sslrootcert"] = "system"
        place = self.name
        if self.host.startswith("/"):
            query |= {"host": self.host, "port": str(self.port)}
            place = ""
        login = f"{quote(session.user, safe='')}:{quote(session.password, safe='')}"
        return (
            f"postgresql://{login}@{place}/{quote(session.database, safe='')}"
            f"?{urlencode(query, safe='/')}"
        )


def parse_dsn(dsn: str) -> Endpoint:
    """Read `postgresql://user:password@host:port/database?sslmode=...&sslrootcert=...`.

    Raises ConfigurationInvalid for everything else: several hosts, other parameters, other
    schemes. A Unix socket is given as `?host=/directory&port=5432`. The message never repeats the
    DSN.
    """
    try:
        parts = urlsplit(dsn)
        port = parts.port
        pairs = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        raise _invalid("it cannot be read as a URL") from None
    query = dict(pairs)
    if parts.scheme not in {"postgres", "postgresql"}:
        raise _invalid("it must begin with postgresql://")
    if parts.fragment or len(query) != len(pairs):
        raise _invalid("it has a fragment, or a parameter twice; quote '#' in a password as %23")
    unknown = sorted(set(query) - {"host", "port", "sslmode", "sslrootcert"})
    if unknown:
        raise _invalid(f"parameter '{unknown[0]}' is not accepted")
    if not parts.username:
        raise _invalid("it names no user")
    database = _text("the database", parts.path.removeprefix("/"))
    return Endpoint(
        host=_host(parts, query),
        port=_port(port, query),
        user=_text("the user", parts.username),
        password=_text("the password", parts.password or ""),
        database=database or "postgres",
        tls=_tls(query),
        ca_file=_ca_file(query),
    )


async def open_connection(
    endpoint: Endpoint,
    session: Session,
    *,
    timeout_s: float,
    command_timeout_s: float | None = None,
    pooled: bool = False,
    settings: Mapping[str, str] | None = None,
) -> Any:  # noqa: ANN401
    """Connect; raises what `translate_connect` renders.

    `settings` are those that the session begins with, and goes back to when it is reset. `pooled`
    says that a pooler may change the session from transaction to transaction, so that nothing can
    be prepared in it.
    """
    try:
        return await asyncpg.connect(
            host=endpoint.host,
            port=endpoint.port,
            user=session.user,
            password=session.password,
            database=session.database,
            ssl=_context(endpoint, endpoint.tls_for(verified=session.verified)),
            direct_tls=False,
            timeout=timeout_s,
            command_timeout=command_timeout_s,
            target_session_attrs=SessionAttribute.any,
            statement_cache_size=0 if pooled else 100,
            server_settings={"application_name": APPLICATION_NAME, **(settings or {})},
        )
    except FAILURES as error:
        raise translate_connect(
            error,
            server=endpoint.name,
            role=session.user,
            database=session.database,
            timeout_s=timeout_s,
        ) from error


def _invalid(reason: str) -> ConfigurationInvalid:
    return ConfigurationInvalid(reason=f"the DSN of a server is not acceptable: {reason}")


def _text(what: str, quoted: str) -> str:
    text = unquote(quoted, errors="replace")
    if not text.isprintable() or ("/" in text and what == "the database"):
        raise _invalid(f"{what} has characters that no name has")
    return text


def _host(parts: SplitResult, query: dict[str, str]) -> str:
    host = unquote(parts.hostname or "")
    socket = query.get("host")
    if socket is not None:
        if host or not socket.startswith("/") or "," in socket or not socket.isprintable():
            raise _invalid("'host' may only be the directory of a Unix socket")
        return socket
    if not host:
        raise _invalid("it names no host")
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        if not _HOST.fullmatch(host) or re.fullmatch(r"[0-9.]+|0[xX][0-9a-fA-F.xX]*", host):
            raise _invalid("the host is neither a name nor an address, or it is a list") from None
    return host


def _port(port: int | None, query: dict[str, str]) -> int:
    text = query.get("port", "5432" if port is None else str(port))
    if not text.isdecimal() or not 0 < int(text) <= _PORT_MAX or (port and "port" in query):
        raise _invalid("the port must be one number from 1 to 65535")
    return int(text)


def _tls(query: dict[str, str]) -> Tls | None:
    mode = query.get("sslmode")
    if mode is None:
        return None
    try:
        return Tls(mode)
    except ValueError:
        raise _invalid(f"sslmode must be one of {', '.join(Tls)}") from None


def _ca_file(query: dict[str, str]) -> Path | None:
    name = query.get("sslrootcert")
    if name is None or name == "system":
        return None
    path = Path(name)
    if not path.is_file():
        raise _invalid("there is no file as named by sslrootcert")
    return path


def _context(endpoint: Endpoint, tls: Tls) -> ssl.SSLContext | bool:
    if tls is Tls.DISABLE:
        return False
    try:
        return client_context(
            ca_file=endpoint.ca_file,
            verified=tls is not Tls.REQUIRE,
            names_verified=tls is Tls.VERIFY_FULL,
        )
    except OSError as error:
        raise TlsRequired(
            server=endpoint.name, reason="the file named by sslrootcert holds no certificates"
        ) from error
