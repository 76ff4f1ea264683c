"""Open, refresh and end sessions.

A refresh token can be exchanged once. Whoever exchanges it a second time is either another tab of
the same client, or a client that did not get our answer, or a thief: the first two get the same
answer again, after a thief nobody does. The rules are those of Supabase's Auth server; the row of
the session is locked, so that they also hold at the same time.
"""

from __future__ import annotations

import base64
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from bulkhead.capabilities.identity.errors import (
    RefreshTokenNotFound,
    SessionExpired,
    SessionNotFound,
)
from bulkhead.capabilities.identity.model import (
    Client,
    Method,
    Session,
    SessionId,
    SignOutScope,
    UserId,
)
from bulkhead.engine.clock import now
from bulkhead.engine.connections.queries import load_queries
from bulkhead.engine.ids import new_id

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from bulkhead.capabilities.identity.settings import IdentitySettings
    from bulkhead.engine.connections.claims import Claims
    from bulkhead.engine.connections.transaction import Transaction

QUERIES = load_queries(__package__)

USER_AGENT_LENGTH_MAX = 500
_REFRESH_TOKEN_BYTES = 10
_REFRESH_TOKEN_LENGTH = 12


def create_refresh_token() -> str:
    """Make a refresh token: 12 lower-case base32 characters, 60 bits."""
    text = base64.b32encode(secrets.token_bytes(_REFRESH_TOKEN_BYTES)).decode("ascii").lower()
    return text[:_REFRESH_TOKEN_LENGTH]


async def open_session(tx: Transaction, user: UserId, method: Method, client: Client) -> Session:
    """Sign `user` in, who proved by `method` who they are."""
    session = SessionId(new_id())
    token = create_refresh_token()
    await tx.execute(
        QUERIES.open_session,
        session,
        user,
        _shorten(client.user_agent),
        client.address,
        method.value,
        token,
    )
    amr = ({"method": method.value, "timestamp": int(now().timestamp())},)
    return Session(session, token, amr)


@dataclass(frozen=True, slots=True)
class Rotated:
    """What a refresh token was exchanged for."""

    user_id: UserId
    session: Session
    is_fresh: bool
    """False when the exchange had been made before, and its outcome is given once more."""


async def rotate_refresh_token(
    tx: Transaction, token: str, client: Client, settings: IdentitySettings
) -> Rotated | None:
    """Exchange `token`; None when it had been exchanged before and the session is ended for it.

    The transaction must commit then, too. Raises RefreshTokenNotFound and SessionExpired.
    """
    session = await tx.fetchrow(QUERIES.lock_session_of_token, token)
    found = await tx.fetchrow(QUERIES.get_refresh_token, token)
    if session is None or found is None:
        raise RefreshTokenNotFound
    if session["ended"] and found["revoked"]:
        return None
    _check_age(session, settings)
    await _check_newest(tx, SessionId(session["id"]), settings)
    is_fresh = False
    if found["revoked"] and found["active_parent"] == token:
        # The client did not get the answer, or another tab did: it is given once more.
        current = found["active_token"]
    elif found["revoked"] and found["revoked_for_s"] > settings.reuse_interval_s:
        await tx.execute(QUERIES.revoke_family, session["id"])
        return None
    else:
        current, is_fresh = create_refresh_token(), True
        await tx.execute(
            QUERIES.swap_refresh_token,
            token,
            current,
            _shorten(client.user_agent),
            client.address,
        )
    session_id, aal = SessionId(session["id"]), session["aal"] or "aal1"
    amr = await list_methods(tx, session_id)
    return Rotated(UserId(session["user_id"]), Session(session_id, current, amr, aal), is_fresh)


async def list_methods(tx: Transaction, session: SessionId) -> list[dict[str, Any]]:
    """How the user of `session` proved who they are, the latest first; `amr` of the token."""
    methods = await tx.fetch(QUERIES.list_methods, session)
    return [{"method": m["authentication_method"], "timestamp": m["proved_at"]} for m in methods]


async def check_session(tx: Transaction, claims: Claims) -> tuple[UserId, SessionId]:
    """The user and the session of `claims`; raises SessionNotFound when it has been ended."""
    user, session = _ids(claims)
    if await tx.fetchval(QUERIES.find_session, session, user) is None:
        raise SessionNotFound
    return user, session


@dataclass(frozen=True, slots=True)
class SessionFacts:
    """What decides whether somebody has to prove more to change a password."""

    age_s: float
    by_code: bool
    """Whether the user came in by a code, as after a recovery."""


async def describe_session(tx: Transaction, session: SessionId) -> SessionFacts:
    """What is known of a session; raises SessionNotFound."""
    row = await tx.fetchrow(QUERIES.describe_session, session)
    if row is None:
        raise SessionNotFound
    return SessionFacts(row["age_s"], row["by_code"])


async def end_sessions(
    tx: Transaction, user: UserId, session: SessionId, scope: SignOutScope
) -> None:
    """Sign `user` out: here (LOCAL), everywhere else (OTHERS), or everywhere (GLOBAL)."""
    match scope:
        case SignOutScope.LOCAL:
            await tx.execute(QUERIES.end_session, session, user)
        case SignOutScope.OTHERS:
            await tx.execute(QUERIES.end_other_sessions, session, user)
        case SignOutScope.GLOBAL:
            await tx.execute(QUERIES.end_sessions, user)


async def prune_sessions(tx: Transaction, settings: IdentitySettings) -> None:
    """Forget sessions that are over, and tokens exchanged long ago."""
    await tx.execute(QUERIES.prune_sessions, settings.session_ttl_s, settings.session_idle_s)
    await tx.execute(QUERIES.prune_refresh_tokens)


def _check_age(session: Mapping[str, Any], settings: IdentitySettings) -> None:
    ttl_s, idle_s = settings.session_ttl_s, settings.session_idle_s
    if session["ended"] or (ttl_s is not None and session["age_s"] > ttl_s):
        raise SessionExpired(why="")
    if idle_s is not None and session["idle_s"] > idle_s:
        raise SessionExpired(why=" (Inactivity)")


async def _check_newest(tx: Transaction, session: SessionId, settings: IdentitySettings) -> None:
    if not settings.session_single:
        return
    newer = await tx.fetchval(
        QUERIES.find_newer_session, session, settings.session_ttl_s, settings.session_idle_s
    )
    if newer is not None:
        raise SessionExpired(why=" (Revoked by Newer Login)")


def _ids(claims: Claims) -> tuple[UserId, SessionId]:
    session = claims.payload.get("session_id")
    if claims.subject is None or not isinstance(session, str):
        raise SessionNotFound
    return UserId(claims.subject), SessionId(UUID(session))


def _shorten(user_agent: str | None) -> str | None:
    return None if user_agent is None else user_agent[:USER_AGENT_LENGTH_MAX]
