"""Ask for a code: to sign in, to set another password, or once more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from uuid import UUID

from bulkhead.capabilities.identity.addresses import check_enabled, parse_address
from bulkhead.capabilities.identity.errors import (
    CodeSignUpDisabled,
    EmailNotConfirmed,
    PhoneNotConfirmed,
    SignUpDisabled,
    UserBanned,
)
from bulkhead.capabilities.identity.flows.service import begin_flow
from bulkhead.capabilities.identity.letters import (
    Destination,
    send_confirmation,
    send_email_change,
    send_magic_link,
    send_reauthentication,
    send_recovery,
    send_text_message,
)
from bulkhead.capabilities.identity.model import (
    Challenge,
    Channel,
    Client,
    CodeKind,
    Method,
    UserId,
    UserRow,
    is_phone,
)
from bulkhead.capabilities.identity.sessions.service import check_session
from bulkhead.capabilities.identity.sign_up import (
    SignUp,
    ask_to_confirm,
    confirm,
    create_or_renew,
)
from bulkhead.capabilities.identity.users.service import (
    check_metadata,
    find_user,
    find_user_id,
    get_user,
    lock_user,
    write_audit_entry,
)
from bulkhead.engine.clock import now
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.errors import Invalid

if TYPE_CHECKING:
    from bulkhead.capabilities.identity.identity import Identity
    from bulkhead.engine.connections.claims import Claims
    from bulkhead.engine.connections.transaction import Transaction

NOBODY = UserId(UUID(int=0))


@dataclass(frozen=True, slots=True)
class Resendable:
    """What can be sent once more, and where to."""

    kind: CodeKind
    channel: Channel


RESENDABLE: Mapping[str, Resendable] = MappingProxyType(
    {
        "signup": Resendable(CodeKind.CONFIRMATION, Channel.EMAIL),
        "email_change": Resendable(CodeKind.EMAIL_CHANGE_NEW, Channel.EMAIL),
        "sms": Resendable(CodeKind.CONFIRMATION, Channel.SMS),
        "phone_change": Resendable(CodeKind.PHONE_CHANGE, Channel.SMS),
    }
)


@dataclass(frozen=True, slots=True)
class CodeRequest:
    """Who wants a code, and what for."""

    address: str
    """An e-mail address or, for the other channels, a telephone number."""
    channel: Channel = Channel.EMAIL
    create_user: bool = True
    data: Mapping[str, Any] = field(default_factory=dict)
    redirect_to: str | None = None
    challenge: Challenge | None = None


async def request_code(identity: Identity, request: CodeRequest, client: Client) -> str | None:
    """Send a code to sign in with; a new user is made first. Returns the id of a text message.

    Raises EmailDisabled, PhoneDisabled, EmailInvalid, PhoneInvalid, RateLimited, MailRateLimited,
    SmsRateLimited; SignUpDisabled and CodeSignUpDisabled for an address without an account.
    """
    check_enabled(identity.settings, request.channel, "logins")
    await identity.limit_client(identity.settings.limits.request_mail, client)
    address = parse_address(request.address, request.channel)
    data = check_metadata(request.data, identity.settings)
    kind = CodeKind.CONFIRMATION if is_phone(address) else CodeKind.RECOVERY
    await identity.limit_message(address, kind)
    async with identity.users.transaction(SERVICE) as tx:
        user = await _lock_user_or_nobody(tx, address)
        _check_may_sign_up(identity, user, request)
        if not user.has_confirmed(address):
            made = await create_or_renew(tx, identity, address, None, data)
            if made is not None and not identity.confirms(address):
                sign_up = SignUp(
                    address, None, data, request.redirect_to, request.challenge, request.channel
                )
                return await ask_to_confirm(tx, identity, made.id, sign_up, client)
            if made is not None:
                user = await confirm(tx, identity, made.id, address, client)
        await write_audit_entry(tx, "user_recovery_requested", user, client)
        if is_phone(address):
            return await send_text_message(tx, identity, user.id, address, kind, request.channel)
        flow = await begin_flow(tx, user.id, request.challenge, Method.MAGIC_LINK)
        destination = Destination(request.redirect_to, flow)
        await send_magic_link(tx, identity, user.id, address, destination)
        return None


async def request_recovery(identity: Identity, request: CodeRequest, client: Client) -> None:
    """Mail a code with which the password can be set, if the address has an account.

    The answer does not tell whether it has, and the time it takes hardly: the same statements run.
    Raises EmailDisabled, EmailInvalid, RateLimited, MailRateLimited.
    """
    check_enabled(identity.settings, Channel.EMAIL, "logins")
    await identity.limit_client(identity.settings.limits.request_mail, client)
    email = parse_address(request.address, Channel.EMAIL)
    await identity.limit_message(email, CodeKind.RECOVERY)
    async with identity.users.transaction(SERVICE) as tx:
        user = await _lock_user_or_nobody(tx, email)
        await write_audit_entry(tx, "user_recovery_requested", user, client)
        flow = await begin_flow(tx, user.id, request.challenge, Method.RECOVERY)
        destination = Destination(request.redirect_to, flow)
        await send_recovery(tx, identity, user.id, email, destination)


async def resend(
    identity: Identity, type_: str, request: CodeRequest, client: Client
) -> str | None:
    """Send the code of a sign-up or of a change of address once more; `type_` says which.

    Does nothing when there is nothing to confirm. Returns the id of a text message. Raises
    Invalid, EmailDisabled, PhoneDisabled, EmailInvalid, PhoneInvalid, RateLimited,
    MailRateLimited, SmsRateLimited.
    """
    if type_ not in RESENDABLE:
        raise Invalid(reason="Missing one of these types: signup, email_change, sms, phone_change")
    check_enabled(identity.settings, request.channel, "logins")
    await identity.limit_client(identity.settings.limits.request_mail, client)
    address = parse_address(request.address, request.channel)
    await identity.limit_message(address, RESENDABLE[type_].kind)
    async with identity.users.transaction(SERVICE) as tx:
        user = await _lock_user_or_nobody(tx, address)
        match type_:
            case "signup":
                await _resend_sign_up(tx, identity, user, request, client)
            case "email_change" if user.new_email:
                flow = await begin_flow(tx, user.id, request.challenge, Method.EMAIL_CHANGE)
                destination = Destination(request.redirect_to, flow)
                await send_email_change(tx, identity, user, user.new_email, destination)
            case "sms" if user.id != NOBODY and not user.is_phone_confirmed:
                await write_audit_entry(tx, "user_recovery_requested", user, client)
                return await send_text_message(
                    tx, identity, user.id, address, CodeKind.CONFIRMATION, request.channel
                )
            case "phone_change" if user.new_phone:
                return await send_text_message(
                    tx, identity, user.id, user.new_phone, CodeKind.PHONE_CHANGE, request.channel
                )
    return None


async def reauthenticate(identity: Identity, claims: Claims, client: Client) -> str | None:
    """Send the signed-in user a code with which to change the password.

    Returns the id of a text message. Raises SessionNotFound, UserBanned, EmailNotConfirmed,
    PhoneNotConfirmed, Invalid for a user without an address, RateLimited and its kinds.
    """
    async with identity.users.transaction(SERVICE, read_only=True) as tx:
        user_id, _ = await check_session(tx, claims)
        user = await get_user(tx, user_id)
    address = user.email or user.phone
    if user.is_banned:
        raise UserBanned
    if not address:
        raise Invalid(
            reason="Reauthentication requires the user to have an email or a phone number"
        )
    if not user.has_confirmed(address):
        raise PhoneNotConfirmed if is_phone(address) else EmailNotConfirmed
    await identity.limit_client(identity.settings.limits.request_mail, client)
    await identity.limit_message(address, CodeKind.REAUTHENTICATION)
    async with identity.users.transaction(SERVICE) as tx:
        await lock_user(tx, user.id)
        await write_audit_entry(tx, "user_reauthenticate_requested", user, client)
        if is_phone(address):
            return await send_text_message(
                tx, identity, user.id, address, CodeKind.REAUTHENTICATION, Channel.SMS
            )
        await send_reauthentication(tx, identity, user)
        return None


def _check_may_sign_up(identity: Identity, user: UserRow, request: CodeRequest) -> None:
    if user.id != NOBODY:
        return
    if not request.create_user:
        raise CodeSignUpDisabled
    if not identity.settings.sign_up_enabled:
        raise SignUpDisabled


async def _resend_sign_up(
    tx: Transaction, identity: Identity, user: UserRow, request: CodeRequest, client: Client
) -> None:
    email = user.email
    addressee = _nobody(email) if user.is_confirmed else user
    await write_audit_entry(tx, "user_confirmation_requested", addressee, client)
    flow = await begin_flow(tx, addressee.id, request.challenge, Method.EMAIL_SIGN_UP)
    destination = Destination(request.redirect_to, flow)
    await send_confirmation(tx, identity, addressee.id, email, destination)


async def _lock_user_or_nobody(tx: Transaction, address: str) -> UserRow:
    """The user of an address, or one who does not exist, after the same statements."""
    user_id = await find_user_id(tx, address) or NOBODY
    await lock_user(tx, user_id)
    user = await find_user(tx, user_id)
    return _nobody(address) if user is None or user.deleted_at is not None else user


def _nobody(address: str) -> UserRow:
    """A user who is not in the database, so that no statement about them changes anything."""
    email, phone = ("", address) if is_phone(address) else (address, "")
    return UserRow(NOBODY, email, created_at=now(), updated_at=now(), phone=phone)
