"""The errors of MySQL and MariaDB, translated once from the client library's.

As with PostgreSQL's, a translated error carries names and the SQLSTATE, but neither SQL text nor
values: the text of a duplicate shows the value, which may be another user's. What a function of the
database says with SIGNAL is meant for the caller and is kept. The server may be a customer's, so
that nothing of its text is believed to be short or printable.
"""

import os
import re
import socket
import ssl
from collections.abc import Iterator

from asyncmy import errors as mysql

from bulkhead.engine.drivers.errors import (
    CheckViolated,
    ConnectionLost,
    DatabaseMissing,
    DeadlockDetected,
    ForeignKeyViolated,
    LockTimeout,
    LoginRefused,
    NotNullViolated,
    PermissionDenied,
    RaisedBySql,
    ReadOnlyViolated,
    SerializationFailed,
    ServerOverloaded,
    ServerUnreachable,
    SqlError,
    StatementTimeout,
    TlsRequired,
    TooManyConnections,
    UniqueViolated,
    ValueInvalid,
)
from bulkhead.engine.errors import BulkheadError, Unavailable


class ServerSuspicious(Unavailable):
    """The server {server} asked for {what}, and did not get it."""

    code = "server_suspicious"
    hint = (
        "Ask whoever runs it; somebody else may answer in its place, which verified TLS prevents."
    )


class ResultTooLarge(SqlError):
    """The answer to a statement is larger than {size_bytes_max} bytes."""

    code = "result_too_large"
    status = 422
    hint = "Ask for fewer rows at once."


NAME_CHARACTERS_MAX = 64
REASON_CHARACTERS_MAX = 500
UNKNOWN_TABLE = 1146
PACKET_TOO_LARGE = 1153
NO_BULK = 1295
READ_ONLY_SERVER = 1290
FILE_FAILED = frozenset({1, 3, 1004, 1005, 1006, 1010, 1011, 1024, 1025, 1026, 1030})
"""The system refused what the server wanted of a file; the text has the system's number."""
_DISK_FULL = re.compile(r"(?:errno|Errcode|error):? 28\b")

BY_NUMBER: dict[int, type[BulkheadError]] = {
    **dict.fromkeys((1022, 1062, 1169, 1586, 1859), UniqueViolated),
    **dict.fromkeys((1216, 1217, 1451, 1452, 1701, 1834), ForeignKeyViolated),
    **dict.fromkeys((3819, 4025), CheckViolated),
    **dict.fromkeys((1048, 1364), NotNullViolated),
    **dict.fromkeys((1153, 1264, 1265, 1292, 1300, 1365, 1366, 1367, 1406, 1411), ValueInvalid),
    **dict.fromkeys((1416, 1441, 1690, 3140, 3141, 3156), ValueInvalid),
    **dict.fromkeys((1044, 1045, 1142, 1143, 1227, 1370, 1410, 1419), PermissionDenied),
    **dict.fromkeys((1792, 1836), ReadOnlyViolated),
    **dict.fromkeys((1213, 1614), DeadlockDetected),
    **dict.fromkeys((1205, 3572), LockTimeout),
    **dict.fromkeys((1020, 3101), SerializationFailed),
    **dict.fromkeys((1317, 1969, 3024), StatementTimeout),
    **dict.fromkeys((1040, 1203, 1226), TooManyConnections),
    **dict.fromkeys((1021, 1037, 1038, 1041, 1114), ServerOverloaded),
    **dict.fromkeys((1053, 1077, 1079, 1080, 1152, 1158, 1159, 1160, 1161), ConnectionLost),
    **dict.fromkeys((1184, 1927, 2002, 2003, 2006, 2013, 2014, 2055, 4031), ConnectionLost),
    1049: DatabaseMissing,
    1644: RaisedBySql,
}
"""By the server's error number; MariaDB's and MySQL's where they differ."""

_RESOURCES = dict.fromkeys((1021, 1114, *FILE_FAILED), "disk space")
_STATES: dict[type[BulkheadError], str] = {
    UniqueViolated: "23505",
    ForeignKeyViolated: "23503",
    CheckViolated: "23514",
    NotNullViolated: "23502",
    ValueInvalid: "22000",
    PermissionDenied: "42501",
    ReadOnlyViolated: "25006",
    SerializationFailed: "40001",
    DeadlockDetected: "40P01",
    LockTimeout: "55P03",
    StatementTimeout: "57014",
    RaisedBySql: "P0001",
}
"""The SQLSTATE that other code knows these by: MySQL's own is 23000 for four of them."""

_CONNECT: dict[int, type[BulkheadError]] = {
    **dict.fromkeys((1044, 1045, 1130, 1251, 1275, 1698, 1820, 1862, 2059), LoginRefused),
    **dict.fromkeys((1040, 1203, 1226), TooManyConnections),
    1049: DatabaseMissing,
}
LOCKED = (3118, 4151)
_INSECURE = (3159, 4170)
_KEY = re.compile(r"for key '(?:[^']*\.)?([^'.]+)'\s*$")
_CONSTRAINT = re.compile(r"CONSTRAINT `([^`]+)`|[Cc]heck constraint '([^']+)'")
_COLUMN = re.compile(r"(?:[Cc]olumn|Field) '([^']+)'")


def translate(error: BaseException) -> BulkheadError:
    """Render any error of a statement as one of `engine.drivers.errors`."""
    if isinstance(error, BulkheadError):
        return error
    if isinstance(error, TimeoutError):
        return StatementTimeout(sqlstate="57014")
    if isinstance(error, mysql.Error):
        return _translate_server_error(error)
    if isinstance(error, ValueError | TypeError | OverflowError):
        return ValueInvalid(sqlstate="22000")
    # What else the client library raises it raises at answers that make no sense.
    return ConnectionLost()


def translate_connect(
    error: BaseException, *, server: str, role: str, database: str, timeout_s: float
) -> BulkheadError:
    """Render why a connection could not be opened."""
    # An administrator's names no database; what it may do stands in the server's own.
    place = {"server": server, "role": role, "database": database or "mysql"}
    if isinstance(error, BulkheadError):
        return error
    for link in _chain(error):
        if isinstance(link, ssl.SSLError):
            reasons = (getattr(link, name, None) for name in ("verify_message", "reason"))
            return TlsRequired(**place, reason=next(filter(None, reasons), "the handshake failed"))
        if isinstance(link, TimeoutError):
            return ServerUnreachable(**place, reason=f"no answer within {timeout_s:g} s")
        if isinstance(link, OSError) and link.strerror:
            return ServerUnreachable(**place, reason=_reason(link))
    return _translate_refusal(error, place)


def error_number(error: BaseException | None) -> int | None:
    """The server's number of an error, or of what it was translated from."""
    if isinstance(error, BulkheadError):
        error = error.__cause__
    if not isinstance(error, mysql.Error) or not error.args:
        return None
    return error.args[0] if isinstance(error.args[0], int) else None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error, and what it was made from, the innermost first."""
    if error.__cause__ is not None:
        yield from _chain(error.__cause__)
    yield error


def _reason(error: OSError) -> str:
    """Why, in the system's words; asyncio's repeat the address."""
    known = error.errno is not None and not isinstance(error, socket.gaierror)
    return os.strerror(error.errno) if known and error.errno else str(error.strerror)


def _translate_refusal(error: BaseException, place: dict[str, str]) -> BulkheadError:
    number = error_number(error)
    if number in _INSECURE:
        return TlsRequired(**place, reason="the server accepts encrypted connections only")
    if number in LOCKED:
        return ServerUnreachable(**place, reason=f"database '{place['database']}' is sealed")
    if number is None or BY_NUMBER.get(number) is ConnectionLost:
        reason = f"the connection broke ({type(error).__name__})"
        return ServerUnreachable(**place, reason=reason)
    kind = _CONNECT.get(number)
    if kind is not None:
        return kind(**place)
    return ServerUnreachable(**place, reason=f"it refused the connection (error {number})")


def _translate_server_error(error: mysql.Error) -> BulkheadError:
    number = error_number(error)
    text = str(error.args[1]) if len(error.args) > 1 else ""
    kind = _kind(number, text)
    if number in {None, 0}:  # The library's own words: "Packet sequence number wrong".
        return ConnectionLost()
    if not issubclass(kind, SqlError):
        return kind(number=number, resource=_RESOURCES.get(number or 0, "memory"))
    details: dict[str, object] = {
        "sqlstate": _STATES.get(kind) or _state(error),
        "number": number,
        "constraint": _find(_KEY if kind is UniqueViolated else _CONSTRAINT, text),
        "column": _find(_COLUMN, text),
    }
    if kind is RaisedBySql:
        details["reason"] = _printable(text, REASON_CHARACTERS_MAX)
    return kind(**{key: value for key, value in details.items() if value is not None})


def _kind(number: int | None, text: str) -> type[BulkheadError]:
    if number == READ_ONLY_SERVER and "read" in text:
        return ReadOnlyViolated
    if number in FILE_FAILED and _DISK_FULL.search(text):
        return ServerOverloaded
    return BY_NUMBER.get(number or 0, SqlError)


def _state(error: mysql.Error) -> str:
    state = str(getattr(error, "sqlstate", None) or "HY000")
    return state if re.fullmatch(r"[0-9A-Z]{5}", state) else "HY000"


def _find(pattern: re.Pattern[str], text: str) -> str | None:
    match = pattern.search(text)
    if match is None:
        return None
    return _printable(next(filter(None, match.groups())), NAME_CHARACTERS_MAX)


def _printable(text: str, length: int) -> str:
    return "".join(c if c.isprintable() else " " for c in text[:length])
