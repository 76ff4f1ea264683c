"""DSNs of MySQL servers, in the words of MySQL's own programs, and nothing that is not understood.

`mysql://user:password@host:3306/database?ssl-mode=VERIFY_IDENTITY&ssl-ca=/file`, or for a Unix
socket `mysql://user:password@/database?socket=/path`.
"""

import ipaddress
import re
from pathlib import Path
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlencode, urlsplit

from bulkhead.engine.drivers.endpoint import Endpoint, Session, Tls
from bulkhead.engine.errors import ConfigurationInvalid

PORT = 3306
PORT_MAX = 65535
PARAMETERS = frozenset({"ssl-mode", "ssl-ca", "socket"})
MODES = {
    Tls.DISABLE: "DISABLED",
    Tls.REQUIRE: "REQUIRED",
    Tls.VERIFY_CA: "VERIFY_CA",
    Tls.VERIFY_FULL: "VERIFY_IDENTITY",
}
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9.])?")
_NUMBERS = re.compile(r"[0-9.]+|0[xX][0-9a-fA-F.xX]*")


def parse_mysql_dsn(dsn: str) -> Endpoint:
    """Read a DSN; raises ConfigurationInvalid, whose message never repeats it."""
    try:
        parts = urlsplit(dsn)
        port = PORT if parts.port is None else parts.port
        pairs = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        raise _invalid("it cannot be read as a URL") from None
    query = dict(pairs)
    if parts.scheme not in {"mysql", "mariadb"}:
        raise _invalid("it must begin with mysql://")
    if parts.fragment or len(query) != len(pairs):
        raise _invalid("it has a fragment, or a parameter twice; quote '#' in a password as %23")
    if unknown := sorted(query.keys() - PARAMETERS):
        raise _invalid(f"parameter '{unknown[0]}' is not accepted")
    if not parts.username:
        raise _invalid("it names no user")
    if not 0 < port <= PORT_MAX:
        raise _invalid(f"the port must be one number from 1 to {PORT_MAX}")
    return Endpoint(
        host=_host(parts, query.get("socket")),
        port=port,
        user=_text("the user", parts.username),
        password=_text("the password", parts.password or ""),
        database=_text("the database", parts.path.removeprefix("/")),
        tls=_tls(query.get("ssl-mode")),
        ca_file=_ca_file(query.get("ssl-ca")),
    )


def render_mysql_dsn(endpoint: Endpoint, session: Session) -> str:
    """Render a DSN; it holds the password."""
    query = {"ssl-mode": MODES[endpoint.tls_for(verified=session.verified)]}
    if endpoint.ca_file is not None:
        query["ssl-ca"] = str(endpoint.ca_file)
    place = endpoint.name
    if endpoint.host.startswith("/"):
        query["socket"] = endpoint.host
        place = ""
    login = f"{quote(session.user, safe='')}:{quote(session.password, safe='')}"
    database = quote(session.database, safe="")
    return f"mysql://{login}@{place}/{database}?{urlencode(query, safe='/')}"


def _invalid(reason: str) -> ConfigurationInvalid:
    return ConfigurationInvalid(reason=f"the DSN of a MySQL server is not acceptable: {reason}")


def _text(what: str, quoted: str) -> str:
    text = unquote(quoted, errors="replace")
    if not text.isprintable() or ("/" in text and what == "the database"):
        raise _invalid(f"{what} has characters that no name has")
    return text


def _host(parts: SplitResult, socket: str | None) -> str:
    host = unquote(parts.hostname or "")
    if socket is not None:
        if host or not socket.startswith("/") or not socket.isprintable():
            raise _invalid("'socket' may only be the path of a Unix socket, beside no host")
        return socket
    if not host:
        raise _invalid("it names no host")
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        if not _HOST.fullmatch(host) or _NUMBERS.fullmatch(host):
            raise _invalid("the host is neither a name nor an address, or it is a list") from None
    return host


def _tls(mode: str | None) -> Tls | None:
    if mode is None:
        return None
    for tls, word in MODES.items():
        if mode == word:
            return tls
    raise _invalid(f"ssl-mode must be one of {', '.join(MODES.values())}")


def _ca_file(name: str | None) -> Path | None:
    if name is None:
        return None
    path = Path(name)
    if not path.is_file():
        raise _invalid("there is no file as named by ssl-ca")
    return path
