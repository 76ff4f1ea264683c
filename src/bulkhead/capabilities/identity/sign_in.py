"""Sign in, stay signed in, sign out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bulkhead.capabilities.identity.addresses import check_enabled, parse_address
from bulkhead.capabilities.identity.errors import (
    EmailInvalid,
    EmailNotConfirmed,
    InvalidCredentials,
    PasswordTooLong,
    PasswordWeak,
    PhoneInvalid,
    PhoneNotConfirmed,
    RefreshTokenReused,
    UserBanned,
)
from bulkhead.capabilities.identity.flows.service import complete_flow
from bulkhead.capabilities.identity.limits.service import refill
from bulkhead.capabilities.identity.model import (
    Channel,
    Client,
    Method,
    SignOutScope,
    Tokens,
    is_phone,
    provider_of,
)
from bulkhead.capabilities.identity.passwords import check_password
from bulkhead.capabilities.identity.sessions.service import (
    check_session,
    end_sessions,
    rotate_refresh_token,
)
from bulkhead.capabilities.identity.users.service import (
    find_credentials,
    get_active_user,
    get_user,
    lock_credentials,
    write_audit_entries,
    write_audit_entry,
)
from bulkhead.engine.connections.claims import SERVICE

if TYPE_CHECKING:
    from bulkhead.capabilities.identity.identity import Identity
    from bulkhead.capabilities.identity.settings import IdentitySettings
    from bulkhead.engine.connections.claims import Claims


async def sign_in(
    identity: Identity,
    address: str,
    password: str,
    client: Client,
    channel: Channel = Channel.EMAIL,
) -> Tokens:
    """Sign in with an address, or a number, and a password.

    Raises InvalidCredentials for a wrong password as for an unknown address, after the same work;
    only with the right password EmailNotConfirmed, PhoneNotConfirmed or UserBanned. Raises
    RateLimited, for one client as for one address, EmailDisabled and PhoneDisabled.
    """
    check_enabled(identity.settings, channel, "logins")
    limits = identity.settings.limits
    await identity.limit_client(limits.sign_in, client)
    try:
        address = parse_address(address, channel)
    except (EmailInvalid, PhoneInvalid):
        raise InvalidCredentials from None
    await identity.limit_subject(limits.password_failures, address)
    async with identity.users.transaction(SERVICE, read_only=True) as tx:
        found = await find_credentials(tx, address)
    user_id, password_hash = found or (None, None)
    # Between the transactions: neither a connection nor the event loop waits for bcrypt.
    matches = await identity.passwords.verify(password, password_hash)
    if not matches or user_id is None or password_hash is None:
        raise InvalidCredentials
    async with identity.users.transaction(SERVICE) as tx:
        await refill(tx, limits.password_failures, address)
        if not await lock_credentials(tx, user_id, password_hash):
            raise InvalidCredentials
        user = await get_user(tx, user_id)
        if user.is_banned:
            raise UserBanned
        if not user.has_confirmed(address):
            raise PhoneNotConfirmed if is_phone(address) else EmailNotConfirmed
        provider = provider_of(address)
        tokens = await identity.issue_token(tx, user, client=client, provider=provider)
    return replace(tokens, weak_password=describe_weakness(password, identity.settings))


async def exchange_code(
    identity: Identity, auth_code: str, verifier: str, client: Client
) -> Tokens:
    """Complete the sign-in that a link led to, for the client that began it.

    Raises FlowNotFound, FlowExpired, VerifierWrong, UserBanned, UserNotFound for a user who was
    deleted, and RateLimited.
    """
    await identity.limit_client(identity.settings.limits.sign_in, client)
    async with identity.users.transaction(SERVICE) as tx:
        flow = await complete_flow(tx, auth_code, verifier, identity.settings.flow_ttl_s)
        user = await get_active_user(tx, flow.user_id)
        return await identity.issue_token(
            tx, user, method=flow.method, client=client, provider=flow.provider_type
        )


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


def describe_weakness(password: str, settings: IdentitySettings) -> Mapping[str, Any] | None:
    """Why nobody could choose `password` today, None for a good one; pure."""
    try:
        check_password(password, settings)
    except PasswordWeak as error:
        return {"message": error.details["reason"], "reasons": error.details["reasons"]}
    except PasswordTooLong:
        return None
    return None


async def _exchange(identity: Identity, refresh_token: str, client: Client) -> Tokens | None:
    async with identity.users.transaction(SERVICE) as tx:
        rotated = await rotate_refresh_token(tx, refresh_token, client, identity.settings)
        if rotated is None:
            return None
        user = await get_user(tx, rotated.user_id)
        if user.is_banned:
            raise UserBanned
        actions = ("token_refreshed", "token_revoked") if rotated.is_fresh else ("token_refreshed",)
        await write_audit_entries(tx, actions, user, client)
        return await identity.render_tokens(tx, user, rotated.session, Method.REFRESH, client)
