"""Prove that one reads the mail of an address: ask for a code, and redeem it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING
from uuid import UUID

from bulkhead.capabilities.identity.codes.service import (
    RedeemedCode,
    delete_codes,
    redeem_digits,
    redeem_link,
)
from bulkhead.capabilities.identity.errors import CodeInvalid, EmailTaken, UserBanned
from bulkhead.capabilities.identity.letters import (
    send_confirmation,
    send_email_change,
    send_recovery,
)
from bulkhead.capabilities.identity.model import (
    Client,
    CodeKind,
    Method,
    Tokens,
    UserId,
    UserRow,
)
from bulkhead.capabilities.identity.sign_up import confirm
from bulkhead.capabilities.identity.users.service import (
    QUERIES as USERS,
)
from bulkhead.capabilities.identity.users.service import (
    find_user,
    find_user_id,
    get_user,
    lock_user,
    parse_email,
    write_audit_entry,
)
from bulkhead.engine.clock import now
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.drivers.errors import UniqueViolated
from bulkhead.engine.errors import Invalid

if TYPE_CHECKING:
    from bulkhead.capabilities.identity.identity import Identity
    from bulkhead.engine.connections.transaction import Transaction

NOBODY = UserId(UUID(int=0))

KINDS: Mapping[str, tuple[CodeKind, ...]] = MappingProxyType(
    {
        "signup": (CodeKind.CONFIRMATION,),
        "invite": (CodeKind.CONFIRMATION,),
        "recovery": (CodeKind.RECOVERY,),
        "magiclink": (CodeKind.RECOVERY,),
        "email": (CodeKind.CONFIRMATION, CodeKind.RECOVERY),
        "email_change": (CodeKind.EMAIL_CHANGE_CURRENT, CodeKind.EMAIL_CHANGE_NEW),
    }
)
"""Which codes the types of `/verify` take."""


async def request_recovery(
    identity: Identity, email: str, redirect_to: str | None, client: Client
) -> None:
    """Mail a code with which the password can be set, if the address has an account.

    The answer does not tell whether it has, and the time it takes hardly: the same statements run.
    Raises EmailInvalid, RateLimited, MailRateLimited.
    """
    await identity.limit_client(identity.settings.limits.request_mail, client)
    email = parse_email(email)
    await identity.limit_mail(email)
    async with identity.users.transaction(SERVICE) as tx:
        user = await _lock_user_or_nobody(tx, email)
        await write_audit_entry(tx, "user_recovery_requested", user, client, "user")
        await send_recovery(tx, identity, user.id, email, redirect_to)


async def resend(
    identity: Identity, type_: str, email: str, redirect_to: str | None, client: Client
) -> None:
    """Mail the code of a sign-up or of a change of address once more; `type_` says which.

    Does nothing when there is nothing to confirm. Raises Invalid, EmailInvalid, RateLimited,
    MailRateLimited.
    """
    if type_ not in {"signup", "email_change"}:
        raise Invalid(reason="Missing one of these types: signup, email_change, sms, phone_change")
    await identity.limit_client(identity.settings.limits.request_mail, client)
    email = parse_email(email)
    await identity.limit_mail(email)
    async with identity.users.transaction(SERVICE) as tx:
        user = await _lock_user_or_nobody(tx, email)
        if type_ == "signup":
            addressee = _nobody(email) if user.is_confirmed else user
            await write_audit_entry(tx, "user_confirmation_requested", addressee, client, "user")
            await send_confirmation(tx, identity, addressee.id, email, redirect_to)
        elif user.new_email:
            await send_email_change(tx, identity, user, user.new_email, redirect_to)


async def verify_secret(
    identity: Identity, type_: str, secret: str, client: Client
) -> Tokens | None:
    """Redeem the link of a mail and sign in; None when another address has to agree, too.

    Raises CodeInvalid, UserBanned, EmailTaken, Invalid for an unknown type, RateLimited.
    """
    kinds = _kinds(type_)
    await identity.limit_client(identity.settings.limits.verify, client)
    async with identity.users.transaction(SERVICE) as tx:
        code = await redeem_link(tx, secret, kinds, identity.settings)
        if code is None:
            raise CodeInvalid
        return await _accept(tx, identity, code, client)


async def verify_digits(
    identity: Identity, type_: str, email: str, digits: str, client: Client
) -> Tokens | None:
    """Redeem the digits of a mail to `email`, as `verify_secret` does the link."""
    kinds = _kinds(type_)
    await identity.limit_client(identity.settings.limits.verify, client)
    email = parse_email(email)
    async with identity.users.transaction(SERVICE) as tx:
        code = await redeem_digits(tx, email, digits, kinds, identity.settings)
        if code is not None:
            return await _accept(tx, identity, code, client)
    # Raised out here, because the failed attempt has to be committed.
    raise CodeInvalid


async def _lock_user_or_nobody(tx: Transaction, email: str) -> UserRow:
    """The user of an address, or one who does not exist, after the same statements."""
    user_id = await find_user_id(tx, email) or NOBODY
    await lock_user(tx, user_id)
    user = await find_user(tx, user_id)
    return _nobody(email) if user is None or user.deleted_at is not None else user


def _nobody(email: str) -> UserRow:
    """A user who is not in the database, so that no statement about them changes anything."""
    return UserRow(NOBODY, email, created_at=now(), updated_at=now())


def _kinds(type_: str) -> tuple[CodeKind, ...]:
    try:
        return KINDS[type_]
    except KeyError:
        raise Invalid(reason="Unsupported verification type") from None


async def _accept(
    tx: Transaction, identity: Identity, code: RedeemedCode, client: Client
) -> Tokens | None:
    await lock_user(tx, code.user_id)
    user = await get_user(tx, code.user_id)
    if user.is_banned:
        raise UserBanned
    # A code proves something about the address it went to, which may not be the user's any more.
    expected = user.new_email if code.kind is CodeKind.EMAIL_CHANGE_NEW else user.email
    if code.address != expected or user.deleted_at is not None:
        raise CodeInvalid
    match code.kind:
        case CodeKind.CONFIRMATION:
            user = await confirm(tx, identity, user.id, client)
        case CodeKind.RECOVERY:
            user = await _recover(tx, identity, user, client)
        case CodeKind.EMAIL_CHANGE_CURRENT | CodeKind.EMAIL_CHANGE_NEW:
            if not await _change_email(tx, identity, user, client):
                return None
    return await identity.issue_token(tx, user, method=Method.CODE, client=client)


async def _recover(tx: Transaction, identity: Identity, user: UserRow, client: Client) -> UserRow:
    if user.is_confirmed:
        return user
    # Whoever signed up with this address knows the password but never showed to read the mail.
    await tx.execute(USERS.set_password, user.id, None)
    await delete_codes(tx, user.id, (CodeKind.CONFIRMATION,))
    return await confirm(tx, identity, user.id, client)


async def _change_email(tx: Transaction, identity: Identity, user: UserRow, client: Client) -> bool:
    """Whether everybody who has to agree to the change has."""
    needs_both = bool(user.email) and not identity.autoconfirm
    if needs_both and user.email_change_confirm_status == 0:
        await tx.execute(USERS.confirm_email_change_once, user.id)
        return False
    try:
        await tx.execute(USERS.finish_email_change, user.id)
    except UniqueViolated:
        raise EmailTaken(reason="somebody else has signed up with it") from None
    await delete_codes(tx, user.id, CodeKind)
    await write_audit_entry(tx, "user_modified", user, client, "user")
    return True
