"""Why a connection to PostgreSQL could not be opened, translated once from asyncpg's errors."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import asyncpg

from bulkhead.engine.drivers.errors import (
    DatabaseMissing,
    LoginRefused,
    PoolerUndeclared,
    ServerStarting,
    ServerUnreachable,
    TlsRequired,
    TooManyConnections,
    kind_of,
)
from bulkhead.engine.drivers.pooler import Word, pooler_word
from bulkhead.engine.errors import BulkheadError

if TYPE_CHECKING:
    from collections.abc import Mapping

_BY_WORD: Mapping[Word, type[BulkheadError]] = {
    Word.LOGIN: LoginRefused,
    Word.PASSWORD: LoginRefused,
    Word.USER: LoginRefused,
    Word.DATABASE: DatabaseMissing,
    Word.CLIENTS: TooManyConnections,
    Word.SETTING: PoolerUndeclared,
}


def translate_connect(
    error: BaseException, *, server: str, role: str, database: str, timeout_s: float
) -> BulkheadError:
    """Render why a connection could not be opened."""
    place = {"server": server, "role": role, "database": database}
    if isinstance(error, BulkheadError):
        return error
    if isinstance(error, ssl.SSLError):
        reasons = (getattr(error, name, None) for name in ("verify_message", "reason"))
        return TlsRequired(**place, reason=next(filter(None, reasons), "the handshake failed"))
    if isinstance(error, ConnectionError) and "SSL" in str(error):
        return TlsRequired(**place, reason="the server does not offer TLS")
    if isinstance(error, TimeoutError):
        return ServerUnreachable(**place, reason=f"no answer within {timeout_s:g} s")
    if isinstance(error, asyncpg.PostgresError):
        return _translate_refusal(error, place)
    if isinstance(error, OSError):
        return ServerUnreachable(**place, reason=error.strerror or type(error).__name__)
    return ServerUnreachable(**place, reason=f"the connection broke ({type(error).__name__})")


def _translate_refusal(error: asyncpg.PostgresError, place: dict[str, str]) -> BulkheadError:
    state = str(error.sqlstate or "XX000")
    word = pooler_word(error)
    if word in {Word.WAITED, Word.FAILING}:
        return ServerUnreachable(**place, reason="its pooler got no connection to it in time")
    if word is not None:
        return _BY_WORD[word](**place)
    if state.startswith("28") and "no encryption" in str(error):
        return TlsRequired(**place, reason="the server accepts encrypted connections only")
    if state == "42501":
        return LoginRefused(**place)
    if state == "55000":
        return ServerUnreachable(**place, reason=f"database '{place['database']}' is sealed")
    if state.startswith("57P"):
        return ServerStarting(**place)
    kind = kind_of(state)
    if kind is not None and issubclass(kind, LoginRefused | DatabaseMissing | TooManyConnections):
        return kind(**place)
    return ServerUnreachable(**place, reason=f"it refused the connection (SQLSTATE {state})")
