"""Sign in, stay signed in, sign out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bulkhead.capabilities.identity.errors import (
    EmailInvalid,
    EmailNotConfirmed,
    InvalidCredentials,
    RefreshTokenReused,
    UserBanned,
)
from bulkhead.capabilities.identity.limits.service import refill
from bulkhead.capabilities.identity.model import Client, SignOutScope, Tokens
from bulkhead.capabilities.identity.sessions.service import (
    check_session,
    end_sessions,
    rotate_refresh_token,
)
from bulkhead.capabilities.identity.users.service import (
    find_credentials,
    get_user,
    lock_credentials,
    parse_email,
    write_audit_entry,
)
from bulkhead.engine.connections.claims import SERVICE

if TYPE_CHECKING:
    from bulkhead.capabilities.identity.identity import Identity
    from bulkhead.engine.connections.claims import Claims


async def sign_in(identity: Identity, email: str, password: str, client: Client) -> Tokens:
    """Sign in with a password.

    Raises InvalidCredentials for a wrong password as for an unknown address, after the same work;
    only with the right password EmailNotConfirmed or UserBanned. Raises RateLimited, for one
    client as for one address.
    """
    limits = identity.settings.limits
    await identity.limit_client(limits.sign_in, client)
    try:
        email = parse_email(email)
    except EmailInvalid:
        raise InvalidCredentials from None
    await identity.limit_subject(limits.password_failures, email)
    async with identity.users.transaction(SERVICE, read_only=True) as tx:
        found = await find_credentials(tx, email)
    user_id, password_hash = found or (None, None)
    # Between the transactions: neither a connection nor the event loop waits for bcrypt.
    matches = await identity.passwords.verify(password, password_hash)
    if not matches or user_id is None or password_hash is None:
        raise InvalidCredentials
    async with identity.users.transaction(SERVICE) as tx:
        await refill(tx, limits.password_failures, email)
        if not await lock_credentials(tx, user_id, password_hash):
            raise InvalidCredentials
        user = await get_user(tx, user_id)
        if user.is_banned:
            raise UserBanned
        if not user.is_confirmed:
            raise EmailNotConfirmed
        return await identity.issue_token(tx, user, client=client)


async def refresh(identity: Identity, refresh_token: str, client: Client) -> Tokens:
    """Exchange a refresh token for new tokens of the same session.

    Raises RefreshTokenNotFound, RefreshTokenReused (then the session has ended), SessionExpired,
    UserBanned, RateLimited.
    """
    await identity.limit_client(identity.settings.limits.refresh, client)
    tokens = await _exchange(identity, refresh_token, client)
    if tokens is None:
        # Raised out here, because what ended the session has to be committed.
        raise RefreshTokenReused
    return tokens


async def sign_out(identity: Identity, claims: Claims, scope: SignOutScope, client: Client) -> None:
    """End sessions of the user; access tokens that are out already live until they expire.

    Raises SessionNotFound when the session of `claims` has ended before.
    """
    async with identity.users.transaction(SERVICE) as tx:
        user_id, session_id = await check_session(tx, claims)
        user = await get_user(tx, user_id)
        await end_sessions(tx, user_id, session_id, scope)
        await write_audit_entry(tx, "logout", user, client)


async def _exchange(identity: Identity, refresh_token: str, client: Client) -> Tokens | None:
    async with identity.users.transaction(SERVICE) as tx:
        rotated = await rotate_refresh_token(tx, refresh_token, client, identity.settings)
        if rotated is None:
            return None
        user_id, session = rotated
        user = await get_user(tx, user_id)
        if user.is_banned:
            raise UserBanned
        await write_audit_entry(tx, "token_refreshed", user, client, "token")
        access_token, expires_at = identity.tokens.sign(user, session)
        return Tokens(
            access_token,
            session.refresh_token,
            expires_at,
            identity.tokens.ttl_s,
            user,
            session.id,
        )
