"""Sign up: a user, what belongs to it and the mail about it in one transaction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bulkhead.capabilities.identity.errors import SignUpDisabled, UserExists
from bulkhead.capabilities.identity.letters import send_account_exists, send_confirmation
from bulkhead.capabilities.identity.model import Client, Tokens, UserId, UserRow
from bulkhead.capabilities.identity.passwords import check_password
from bulkhead.capabilities.identity.users.service import (
    check_metadata,
    confirm_user,
    find_user_by_email,
    get_user,
    insert_user,
    lock_user,
    parse_email,
    replace_pending_user,
    write_audit_entry,
)
from bulkhead.engine.clock import now
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.ids import new_id

if TYPE_CHECKING:
    from bulkhead.capabilities.identity.identity import Identity
    from bulkhead.engine.connections.transaction import Transaction


@dataclass(frozen=True, slots=True)
class SignUp:
    """What somebody signs up with."""

    email: str
    password: str = field(repr=False)
    data: Mapping[str, Any] = field(default_factory=dict)
    redirect_to: str | None = None


async def sign_up(identity: Identity, request: SignUp, client: Client) -> Tokens | UserRow:
    """Create a user; returns tokens, or the user when the address must be confirmed first.

    With confirmation, an address that has an account gets an answer of the same form, with an id
    that does not exist, and its owner a mail. Without, UserExists is raised. Several sign-ups with
    one address make one user; until the address is confirmed, the latest one counts.
    Raises SignUpDisabled, EmailInvalid, PasswordWeak, PasswordTooLong, Invalid, RateLimited.
    """
    if not identity.settings.sign_up_enabled:
        raise SignUpDisabled
    await identity.limit_client(identity.settings.limits.sign_up, client)
    email = parse_email(request.email)
    check_password(request.password, identity.settings)
    data = check_metadata(request.data, identity.settings)
    if not identity.autoconfirm:
        await identity.limit_mail(email)
    password_hash = await identity.passwords.hash(request.password)
    async with identity.users.transaction(SERVICE) as tx:
        user = await _create_or_renew(tx, identity, email, password_hash, data)
        if user is None:
            return await _answer_owner(tx, identity, email, data, client)
        if identity.autoconfirm:
            await confirm(tx, identity, user.id, client)
            return await identity.issue_token(tx, user, client=client)
        await write_audit_entry(
            tx, "user_confirmation_requested", user, client, "user", provider="email"
        )
        await send_confirmation(tx, identity, user.id, email, request.redirect_to)
        return await get_user(tx, user.id)


async def confirm(tx: Transaction, identity: Identity, user_id: UserId, client: Client) -> UserRow:
    """Note that a user's address is confirmed; tells the application the first time."""
    newly = await confirm_user(tx, user_id)
    user = await get_user(tx, user_id)
    if newly:
        await write_audit_entry(tx, "user_signedup", user, client, "team", provider="email")
        if identity.on_confirmed is not None:
            await identity.on_confirmed(tx, user)
    return user


async def _create_or_renew(
    tx: Transaction,
    identity: Identity,
    email: str,
    password_hash: str,
    data: Mapping[str, Any],
) -> UserRow | None:
    """The new or still unconfirmed user; None when the address has an account."""
    user = await insert_user(
        tx,
        email=email,
        password_hash=password_hash,
        user_metadata=data,
        app_metadata={},
        confirmed=False,
    )
    if user is not None:
        if identity.on_signed_up is not None:
            await identity.on_signed_up(tx, user)
        return user
    user = await find_user_by_email(tx, email)
    # Without confirmation, renewing would hand an account that somebody else prepared to anybody.
    if user is None or identity.autoconfirm:
        return None
    await lock_user(tx, user.id)
    user = await get_user(tx, user.id)
    if user.is_confirmed or user.deleted_at is not None:
        return None
    await replace_pending_user(tx, user.id, password_hash, data)
    return user


async def _answer_owner(
    tx: Transaction, identity: Identity, email: str, data: Mapping[str, Any], client: Client
) -> UserRow:
    if identity.autoconfirm:
        raise UserExists(reason="the e-mail address has an account")
    owner = await find_user_by_email(tx, email)
    if owner is not None:
        await write_audit_entry(tx, "user_repeated_signup", owner, client, "user", provider="email")
        await send_account_exists(tx, identity, email)
    at = now()
    return UserRow(
        id=UserId(new_id()),
        email=email,
        role="",
        app_metadata={"provider": "email", "providers": ["email"]},
        user_metadata=data,
        confirmation_sent_at=at,
        created_at=at,
        updated_at=at,
    )
