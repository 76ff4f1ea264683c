"""Invite somebody, and make the link of a mail that the application sends itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from bulkhead.capabilities.identity.administration import audit
from bulkhead.capabilities.identity.codes.service import issue_code
from bulkhead.capabilities.identity.directory import service as directory
from bulkhead.capabilities.identity.errors import EmailTaken
from bulkhead.capabilities.identity.letters import Destination, send_invitation
from bulkhead.capabilities.identity.mail.letter import Permission
from bulkhead.capabilities.identity.model import Client, CodeKind, UserId, UserRow
from bulkhead.capabilities.identity.passwords import check_password
from bulkhead.capabilities.identity.redirects import choose_redirect
from bulkhead.capabilities.identity.users.service import (
    QUERIES as USERS,
)
from bulkhead.capabilities.identity.users.service import (
    check_metadata,
    find_user_by_email,
    get_user,
    insert_user,
    lock_user,
    merge_user_metadata,
    parse_email,
    write_audit_entry,
)
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.errors import Invalid, NotFound

if TYPE_CHECKING:
    from bulkhead.capabilities.identity.identity import Identity
    from bulkhead.engine.connections.transaction import Transaction


class AddressUnknown(NotFound):
    """No user has this e-mail address."""

    code = "unknown_user_email"


class LinkType(StrEnum):
    """What a link is for."""

    SIGN_UP = "signup"
    INVITE = "invite"
    MAGIC_LINK = "magiclink"
    RECOVERY = "recovery"
    EMAIL_CHANGE_CURRENT = "email_change_current"
    EMAIL_CHANGE_NEW = "email_change_new"


_CODES = {
    LinkType.SIGN_UP: CodeKind.CONFIRMATION,
    LinkType.INVITE: CodeKind.CONFIRMATION,
    LinkType.MAGIC_LINK: CodeKind.RECOVERY,
    LinkType.RECOVERY: CodeKind.RECOVERY,
    LinkType.EMAIL_CHANGE_CURRENT: CodeKind.EMAIL_CHANGE_CURRENT,
    LinkType.EMAIL_CHANGE_NEW: CodeKind.EMAIL_CHANGE_NEW,
}
_CHANGES = frozenset({LinkType.EMAIL_CHANGE_CURRENT, LinkType.EMAIL_CHANGE_NEW})


@dataclass(frozen=True, slots=True)
class LinkRequest:
    """The link that the application wants."""

    type: LinkType
    email: str
    new_email: str = ""
    password: str = field(default="", repr=False)
    data: Mapping[str, Any] | None = None
    redirect_to: str | None = None


@dataclass(frozen=True, slots=True)
class GeneratedLink:
    """A link, and what else the mail may say."""

    user: UserRow
    type: LinkType
    link: str = field(repr=False)
    digits: str = field(repr=False)
    secret: str = field(repr=False)
    redirect_to: str


async def invite(
    identity: Identity,
    email: str,
    data: Mapping[str, Any] | None,
    redirect_to: str | None,
    client: Client,
) -> UserRow:
    """Create a user and mail them a link with which they become one.

    Once more for somebody who has not followed it. Raises EmailTaken, EmailInvalid, Invalid.
    """
    email = parse_email(email)
    metadata = check_metadata(data, identity.settings)
    async with identity.users.transaction(SERVICE) as tx:
        user = await _find_or_create(tx, identity, email, metadata, None)
        await audit(tx, "user_invited", user, client)
        await send_invitation(tx, identity, user.id, email, Destination(redirect_to))
        await directory.note_invitation(tx, user.id)
        return await get_user(tx, user.id)


async def generate_link(identity: Identity, wanted: LinkRequest, client: Client) -> GeneratedLink:
    """Make the link that a mail of ours would have, without a mail.

    A magic link for an unknown address signs up. Raises AddressUnknown, EmailTaken, EmailInvalid,
    PasswordWeak, PasswordTooLong, Invalid.
    """
    email = parse_email(wanted.email)
    if wanted.type is LinkType.EMAIL_CHANGE_CURRENT and not identity.settings.email_change_by_both:
        raise Invalid(reason="Enable secure email change to generate link for current email")
    new_email = parse_email(wanted.new_email) if wanted.type in _CHANGES else ""
    data = check_metadata(wanted.data, identity.settings)
    async with identity.users.transaction(SERVICE, read_only=True) as tx:
        known = await find_user_by_email(tx, email)
    kind, password_hash = wanted.type, None
    if known is None:
        if kind in _CHANGES or kind is LinkType.RECOVERY:
            raise AddressUnknown(what="User")
        if kind is LinkType.SIGN_UP:
            check_password(wanted.password, identity.settings)
            password_hash = await identity.passwords.hash(wanted.password)
        if kind is LinkType.MAGIC_LINK:
            kind = LinkType.SIGN_UP
    async with identity.users.transaction(SERVICE) as tx:
        if kind in {LinkType.SIGN_UP, LinkType.INVITE}:
            user = await _find_or_create(tx, identity, email, data, password_hash)
            await _note_new(tx, identity, user, kind, data, client)
        else:
            user = await _lock_known(tx, email)
            await _note_known(tx, user, kind, new_email, client)
        address = new_email if kind is LinkType.EMAIL_CHANGE_NEW else email
        return await _make_link(tx, identity, user.id, kind, address, wanted.redirect_to)


async def _find_or_create(
    tx: Transaction,
    identity: Identity,
    email: str,
    data: Mapping[str, Any],
    password_hash: str | None,
) -> UserRow:
    """The user of an address that nobody has confirmed; raises EmailTaken."""
    user = await insert_user(
        tx, email=email, password_hash=password_hash, user_metadata=data, app_metadata={}
    )
    if user is not None:
        if identity.on_signed_up is not None:
            await identity.on_signed_up(tx, user)
        return user
    user = await _lock_known(tx, email)
    if user.is_confirmed:
        raise EmailTaken(reason="the user has confirmed it")
    return user


async def _lock_known(tx: Transaction, email: str) -> UserRow:
    user = await find_user_by_email(tx, email)
    if user is None:
        raise AddressUnknown(what="User")
    await lock_user(tx, user.id)
    return await get_user(tx, user.id)


async def _note_new(
    tx: Transaction,
    identity: Identity,
    user: UserRow,
    kind: LinkType,
    data: Mapping[str, Any],
    client: Client,
) -> None:
    if kind is LinkType.INVITE:
        await audit(tx, "user_invited", user, client)
        await directory.note_invitation(tx, user.id)
        return
    if data:
        await merge_user_metadata(tx, user.id, data, identity.settings)
    await tx.execute(USERS.note_confirmation_sent, user.id)


async def _note_known(
    tx: Transaction, user: UserRow, kind: LinkType, new_email: str, client: Client
) -> None:
    if kind in _CHANGES:
        await directory.check_addresses(tx, new_email, None, user.id)
        if user.new_email != new_email:
            await tx.execute(USERS.begin_email_change, user.id, new_email)
        return
    await write_audit_entry(tx, "user_recovery_requested", user, client)
    await tx.execute(USERS.note_recovery_sent, user.id)


async def _make_link(
    tx: Transaction,
    identity: Identity,
    user: UserId,
    kind: LinkType,
    address: str,
    redirect_to: str | None,
) -> GeneratedLink:
    code = await issue_code(tx, user, _CODES[kind], address)
    target = choose_redirect(redirect_to, identity.site_url, identity.settings.redirect_urls)
    permission = Permission(
        application=identity.title,
        recipient=address,
        issuer=identity.issuer,
        type="email_change" if kind in _CHANGES else kind.value,
        secret=code.secret,
        digits=code.digits,
        redirect_to=target,
        ttl_s=identity.settings.code_ttl_s,
    )
    return GeneratedLink(
        await get_user(tx, user), kind, permission.link, code.digits, code.secret, target
    )
