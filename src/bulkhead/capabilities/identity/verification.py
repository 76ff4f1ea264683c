"""Prove that one reads what is sent to an address: redeem a code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from bulkhead.capabilities.identity.address_change import (
    finish_email_change,
    finish_phone_change,
)
from bulkhead.capabilities.identity.addresses import parse_address
from bulkhead.capabilities.identity.codes.service import (
    FLOW_PREFIX,
    RedeemedCode,
    delete_codes,
    redeem_digits,
    redeem_link,
)
from bulkhead.capabilities.identity.errors import CodeInvalid, FlowNotFound, UserBanned
from bulkhead.capabilities.identity.flows.service import issue_auth_code
from bulkhead.capabilities.identity.letters import needs_both
from bulkhead.capabilities.identity.model import (
    Channel,
    Client,
    CodeKind,
    Method,
    Tokens,
    UserRow,
    is_phone,
    provider_of,
)
from bulkhead.capabilities.identity.sign_up import confirm
from bulkhead.capabilities.identity.users.service import (
    QUERIES as USERS,
)
from bulkhead.capabilities.identity.users.service import get_user
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.errors import Invalid

if TYPE_CHECKING:
    from bulkhead.capabilities.identity.identity import Identity
    from bulkhead.engine.connections.transaction import Transaction

EMAIL_KINDS: Mapping[str, tuple[CodeKind, ...]] = MappingProxyType(
    {
        "signup": (CodeKind.CONFIRMATION,),
        "invite": (CodeKind.CONFIRMATION,),
        "recovery": (CodeKind.RECOVERY,),
        "magiclink": (CodeKind.RECOVERY,),
        "email": (CodeKind.CONFIRMATION, CodeKind.RECOVERY),
        "email_change": (CodeKind.EMAIL_CHANGE_CURRENT, CodeKind.EMAIL_CHANGE_NEW),
    }
)
PHONE_KINDS: Mapping[str, tuple[CodeKind, ...]] = MappingProxyType(
    {"sms": (CodeKind.CONFIRMATION,), "phone_change": (CodeKind.PHONE_CHANGE,)}
)
"""Which codes the types of `/verify` take."""


@dataclass(frozen=True, slots=True)
class FollowedLink:
    """What came of a link: tokens, or a code for the client, or another address must agree."""

    type: str
    tokens: Tokens | None = None
    auth_code: str | None = None


async def verify_secret(
    identity: Identity, type_: str, secret: str, client: Client
) -> Tokens | None:
    """Redeem the secret of a link and sign in; None when another address has to agree, too.

    Raises CodeInvalid, UserBanned, EmailTaken, Invalid for an unknown type, RateLimited.
    """
    kinds = _email_kinds(type_)
    await identity.limit_client(identity.settings.limits.verify, client)
    async with identity.users.transaction(SERVICE) as tx:
        code = await redeem_link(tx, secret, kinds, identity.settings)
        if code is None:
            raise CodeInvalid
        user = await _accept(tx, identity, code, client)
        return None if user is None else await _sign_in(tx, identity, user, code, client)


async def follow_link(identity: Identity, type_: str, secret: str, client: Client) -> FollowedLink:
    """Redeem the link of a mail, as `verify_secret`; of a sign-in under way, go on with that.

    Raises FlowNotFound, too, for a sign-in that nobody completed in time.
    """
    kinds = _email_kinds(type_)
    await identity.limit_client(identity.settings.limits.verify, client)
    async with identity.users.transaction(SERVICE) as tx:
        code = await redeem_link(tx, secret, kinds, identity.settings)
        if code is None:
            raise CodeInvalid
        if type_ == "email":
            type_ = "magiclink" if code.kind is CodeKind.RECOVERY else "signup"
        user = await _accept(tx, identity, code, client)
        if user is None:
            return FollowedLink(type_)
        if not secret.startswith(FLOW_PREFIX):
            tokens = await _sign_in(tx, identity, user, code, client)
            return FollowedLink(type_, tokens=tokens)
        if code.flow_id is None:
            raise FlowNotFound(what="Sign-in")
        return FollowedLink(type_, auth_code=await issue_auth_code(tx, code.flow_id))


async def verify_digits(
    identity: Identity,
    type_: str,
    address: str,
    digits: str,
    client: Client,
    *,
    channel: Channel = Channel.EMAIL,
) -> Tokens | None:
    """Redeem the digits that were sent to an address or a number, as `verify_secret` a link."""
    kinds = _email_kinds(type_) if channel is Channel.EMAIL else _phone_kinds(type_)
    await identity.limit_client(identity.settings.limits.verify, client)
    address = parse_address(address, channel)
    async with identity.users.transaction(SERVICE) as tx:
        code = await redeem_digits(tx, address, digits, kinds, identity.settings)
        if code is not None:
            user = await _accept(tx, identity, code, client)
            return None if user is None else await _sign_in(tx, identity, user, code, client)
    # Raised out here, because the failed attempt has to be committed.
    raise CodeInvalid


def _email_kinds(type_: str) -> tuple[CodeKind, ...]:
    if type_ in EMAIL_KINDS:
        return EMAIL_KINDS[type_]
    if type_ in PHONE_KINDS:
        raise CodeInvalid
    raise Invalid(reason="Unsupported verification type")


def _phone_kinds(type_: str) -> tuple[CodeKind, ...]:
    if type_ in PHONE_KINDS:
        return PHONE_KINDS[type_]
    if type_ in EMAIL_KINDS:
        raise CodeInvalid
    raise Invalid(reason="Unsupported verification type")


async def _sign_in(
    tx: Transaction, identity: Identity, user: UserRow, code: RedeemedCode, client: Client
) -> Tokens:
    provider = provider_of(code.address)
    return await identity.issue_token(
        tx, user, method=Method.CODE, client=client, provider=provider
    )


async def _accept(
    tx: Transaction, identity: Identity, code: RedeemedCode, client: Client
) -> UserRow | None:
    """The user of a code with what it proves noted; None when another address has to agree."""
    user = await get_user(tx, code.user_id)
    if user.is_banned:
        raise UserBanned
    # A code proves something about the address it went to, which may not be the user's any more.
    if code.address != _expected_address(user, code) or user.deleted_at is not None:
        raise CodeInvalid
    match code.kind:
        case CodeKind.CONFIRMATION:
            return await confirm(tx, identity, user.id, code.address, client)
        case CodeKind.RECOVERY:
            return await _recover(tx, identity, user, client)
        case CodeKind.PHONE_CHANGE:
            return await finish_phone_change(tx, identity, user, client)
        case _:
            return await _agree_to_email(tx, identity, user, client)


def _expected_address(user: UserRow, code: RedeemedCode) -> str:
    match code.kind:
        case CodeKind.EMAIL_CHANGE_NEW:
            return user.new_email
        case CodeKind.PHONE_CHANGE:
            return user.new_phone
        case _:
            return user.phone if is_phone(code.address) else user.email


async def _recover(tx: Transaction, identity: Identity, user: UserRow, client: Client) -> UserRow:
    if user.is_confirmed:
        return user
    # Whoever signed up with this address knows the password but never showed to read the mail.
    await tx.execute(USERS.set_password, user.id, None)
    await delete_codes(tx, user.id, (CodeKind.CONFIRMATION,))
    return await confirm(tx, identity, user.id, user.email, client)


async def _agree_to_email(
    tx: Transaction, identity: Identity, user: UserRow, client: Client
) -> UserRow | None:
    """The user with the other address once everybody who has a say has agreed; else None."""
    if needs_both(identity, user) and user.email_change_confirm_status == 0:
        await tx.execute(USERS.confirm_email_change_once, user.id)
        return None
    return await finish_email_change(tx, identity, user, client)
