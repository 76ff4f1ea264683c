"""What users see and change of themselves, and what the operator does for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bulkhead.capabilities.identity.codes.service import delete_codes, prune_codes
from bulkhead.capabilities.identity.errors import (
    EmailTaken,
    InvalidCredentials,
    PasswordUnchanged,
    UserBanned,
    UserExists,
    UserNotFound,
)
from bulkhead.capabilities.identity.letters import send_email_change
from bulkhead.capabilities.identity.limits.service import prune as prune_limits
from bulkhead.capabilities.identity.mail.service import prune_mail
from bulkhead.capabilities.identity.model import (
    Client,
    CodeKind,
    SessionId,
    SignOutScope,
    Tokens,
    UserId,
    UserRow,
)
from bulkhead.capabilities.identity.passwords import check_password
from bulkhead.capabilities.identity.sessions.service import (
    check_session,
    end_sessions,
    prune_sessions,
)
from bulkhead.capabilities.identity.users.service import (
    QUERIES as USERS,
)
from bulkhead.capabilities.identity.users.service import (
    check_metadata,
    find_password_hash,
    find_user_by_email,
    get_user,
    insert_user,
    lock_credentials,
    lock_user,
    merge_user_metadata,
    parse_email,
    prune_audit_log,
    write_audit_entry,
)
from bulkhead.engine.connections.claims import SERVICE

if TYPE_CHECKING:
    from bulkhead.capabilities.identity.identity import Identity
    from bulkhead.engine.connections.claims import Claims
    from bulkhead.engine.connections.transaction import Transaction


@dataclass(frozen=True, slots=True)
class UserChange:
    """What a user wants to change; None leaves it as it is."""

    email: str | None = None
    password: str | None = field(default=None, repr=False)
    current_password: str | None = field(default=None, repr=False)
    """Checked where it is given."""
    data: Mapping[str, Any] | None = None
    """Keys of `user_metadata` to set, or to delete where they are None."""
    redirect_to: str | None = None


async def get_current_user(identity: Identity, claims: Claims) -> UserRow:
    """The user of `claims`, by the database; raises SessionNotFound, UserBanned, UserNotFound."""
    async with identity.users.transaction(SERVICE, read_only=True) as tx:
        user_id, _ = await check_session(tx, claims)
        return await _get_active(tx, user_id)


async def update_current_user(
    identity: Identity, claims: Claims, change: UserChange, client: Client
) -> UserRow:
    """Change the user of `claims`.

    A new address counts once it is confirmed, by a mail to it and one to the present address. A
    new password signs out everywhere else. Raises what `get_current_user` raises, EmailInvalid,
    EmailTaken, MailRateLimited, PasswordWeak, PasswordTooLong, PasswordUnchanged, Invalid,
    InvalidCredentials for a wrong current password.
    """
    user = await get_current_user(identity, claims)
    email = parse_email(change.email) if change.email else user.email
    data = check_metadata(change.data, identity.settings)
    password = await _prepare_password(identity, user, change)
    if email != user.email:
        await _limit_email_change(identity, user, email)
    async with identity.users.transaction(SERVICE) as tx:
        await lock_user(tx, user.id)
        user_id, session_id = await check_session(tx, claims)
        if password is not None:
            await _set_password(tx, user, session_id, password, client)
        if data:
            await merge_user_metadata(tx, user_id, data, identity.settings)
        if email != user.email:
            await send_email_change(tx, identity, user, email, change.redirect_to)
        await write_audit_entry(tx, "user_modified", user, client, "user")
        return await get_user(tx, user_id)


async def create_user(
    identity: Identity,
    *,
    email: str,
    password: str,
    app_metadata: Mapping[str, Any] | None = None,
    user_metadata: Mapping[str, Any] | None = None,
    confirmed: bool = True,
) -> UserRow:
    """Create a user for the operator: no mail, no limits, `app_metadata` such as the role.

    Raises UserExists, EmailInvalid, PasswordWeak, PasswordTooLong.
    """
    email = parse_email(email)
    check_password(password, identity.settings)
    password_hash = await identity.passwords.hash(password)
    async with identity.users.transaction(SERVICE) as tx:
        user = await insert_user(
            tx,
            email=email,
            password_hash=password_hash,
            user_metadata=check_metadata(user_metadata, identity.settings),
            app_metadata=app_metadata or {},
            confirmed=confirmed,
        )
        if user is None:
            raise UserExists(reason="the e-mail address has an account")
        for hook in (identity.on_signed_up, identity.on_confirmed if confirmed else None):
            if hook is not None:
                await hook(tx, user)
        await write_audit_entry(tx, "user_signedup", user, Client(), "team", provider="email")
        return user


async def sign_in_as(identity: Identity, email: str) -> Tokens:
    """Tokens of the user with this address, for the operator; raises UserNotFound, UserBanned."""
    async with identity.users.transaction(SERVICE) as tx:
        user = await find_user_by_email(tx, parse_email(email))
        if user is None:
            raise UserNotFound(what="User")
        return await identity.issue_token(tx, await _get_active(tx, user.id))


async def tidy(identity: Identity) -> None:
    """Forget what is over: sessions, codes, mails, full buckets, old audit entries. Repeatable."""
    async with identity.users.transaction(SERVICE) as tx:
        await prune_sessions(tx, identity.settings)
        await prune_codes(tx, identity.settings)
        await prune_mail(tx)
        await prune_limits(tx)
        await prune_audit_log(tx)


async def _get_active(tx: Transaction, user_id: UserId) -> UserRow:
    user = await get_user(tx, user_id)
    if user.is_banned:
        raise UserBanned
    if user.deleted_at is not None:
        raise UserNotFound(what="User")
    return user


async def _prepare_password(
    identity: Identity, user: UserRow, change: UserChange
) -> tuple[str | None, str] | None:
    """The hash that the password must still have, and the new one; None to leave it."""
    if change.password is None:
        return None
    check_password(change.password, identity.settings)
    async with identity.users.transaction(SERVICE, read_only=True) as tx:
        former = await find_password_hash(tx, user.id)
    if change.current_password is not None and not await identity.passwords.verify(
        change.current_password, former
    ):
        raise InvalidCredentials
    if await identity.passwords.verify(change.password, former):
        raise PasswordUnchanged(reason="choose another one")
    return former, await identity.passwords.hash(change.password)


async def _set_password(
    tx: Transaction,
    user: UserRow,
    session_id: SessionId,
    password: tuple[str | None, str],
    client: Client,
) -> None:
    former, password_hash = password
    if former is not None and not await lock_credentials(tx, user.id, former):
        raise InvalidCredentials
    await tx.execute(USERS.set_password, user.id, password_hash)
    await end_sessions(tx, user.id, session_id, SignOutScope.OTHERS)
    await delete_codes(tx, user.id, (CodeKind.RECOVERY,))
    await write_audit_entry(tx, "user_updated_password", user, client, "user")


async def _limit_email_change(identity: Identity, user: UserRow, email: str) -> None:
    async with identity.users.transaction(SERVICE, read_only=True) as tx:
        if await find_user_by_email(tx, email) is not None:
            raise EmailTaken(reason="another user has it")
    await identity.limit_mail(email)
    if user.email and not identity.autoconfirm:
        await identity.limit_mail(user.email)
