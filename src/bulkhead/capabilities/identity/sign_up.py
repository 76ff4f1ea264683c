"""Sign up: a user, what belongs to it and the message about it in one transaction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bulkhead.capabilities.identity.addresses import check_enabled, parse_address
from bulkhead.capabilities.identity.errors import AnonymousDisabled, SignUpDisabled, UserExists
from bulkhead.capabilities.identity.flows.service import begin_flow
from bulkhead.capabilities.identity.letters import (
    Destination,
    send_account_exists,
    send_confirmation,
    send_text_message,
)
from bulkhead.capabilities.identity.model import (
    Challenge,
    Channel,
    Client,
    CodeKind,
    Method,
    Tokens,
    UserId,
    UserRow,
    is_phone,
    provider_of,
)
from bulkhead.capabilities.identity.passwords import check_password
from bulkhead.capabilities.identity.users.service import (
    check_metadata,
    confirm_address,
    find_user_by_address,
    get_user,
    insert_user,
    lock_user,
    refresh_providers,
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

    address: str
    """An e-mail address or, for the other channels, a telephone number."""
    password: str | None = field(repr=False)
    """None for whoever signs in by codes."""
    data: Mapping[str, Any] = field(default_factory=dict)
    redirect_to: str | None = None
    challenge: Challenge | None = None
    channel: Channel = Channel.EMAIL


async def sign_up(identity: Identity, request: SignUp, client: Client) -> Tokens | UserRow:
    """Create a user; returns tokens, or the user when the address must be confirmed first.

    With confirmation, an address that has an account gets an answer of the same form, with an id
    that does not exist, and its owner a mail. Without, UserExists is raised. Several sign-ups with
    one address make one user; until the address is confirmed, the latest one counts.
    Raises SignUpDisabled, EmailDisabled, PhoneDisabled, EmailInvalid, PhoneInvalid, PasswordWeak,
    PasswordTooLong, Invalid, RateLimited.
    """
    if not identity.settings.sign_up_enabled:
        raise SignUpDisabled
    check_enabled(identity.settings, request.channel, "signups")
    await identity.limit_client(identity.settings.limits.sign_up, client)
    address = parse_address(request.address, request.channel)
    if request.password is not None:
        check_password(request.password, identity.settings)
    data = check_metadata(request.data, identity.settings)
    if not identity.confirms(address):
        await identity.limit_message(address, CodeKind.CONFIRMATION)
    password_hash = None
    if request.password is not None:
        password_hash = await identity.passwords.hash(request.password)
    async with identity.users.transaction(SERVICE) as tx:
        user = await create_or_renew(tx, identity, address, password_hash, data)
        if user is None:
            return await _answer_owner(tx, identity, address, data, client)
        if identity.confirms(address):
            await confirm(tx, identity, user.id, address, client)
            return await identity.issue_token(
                tx, user, client=client, provider=provider_of(address)
            )
        await ask_to_confirm(tx, identity, user.id, request, client)
        return await get_user(tx, user.id)


async def sign_up_anonymously(
    identity: Identity, data: Mapping[str, Any] | None, client: Client
) -> Tokens:
    """Create a user without an address, who may add one later, and sign in.

    Raises AnonymousDisabled, SignUpDisabled, Invalid, RateLimited.
    """
    if not identity.settings.anonymous_enabled:
        raise AnonymousDisabled
    if not identity.settings.sign_up_enabled:
        raise SignUpDisabled
    await identity.limit_client(identity.settings.limits.anonymous, client)
    data = check_metadata(data, identity.settings)
    async with identity.users.transaction(SERVICE) as tx:
        user = await insert_user(tx, user_metadata=data, app_metadata={})
        assert user is not None, "nobody else can have the address of a user without one"
        if identity.on_signed_up is not None:
            await identity.on_signed_up(tx, user)
        return await identity.issue_token(
            tx, user, method=Method.ANONYMOUS, client=client, provider="anonymous"
        )


async def confirm(
    tx: Transaction, identity: Identity, user_id: UserId, address: str, client: Client
) -> UserRow:
    """Note that an address is the user's; tells the application the first time there is one."""
    before = await get_user(tx, user_id)
    newly = await confirm_address(tx, user_id, address)
    await refresh_providers(tx, user_id)
    user = await get_user(tx, user_id)
    if newly:
        provider = provider_of(address)
        await write_audit_entry(tx, "user_signedup", user, client, provider=provider)
        await welcome(tx, identity, before, user)
    return user


async def welcome(tx: Transaction, identity: Identity, before: UserRow, user: UserRow) -> None:
    """Tell the application about a user who has now, and had not before, shown an address."""
    is_new = not (before.is_confirmed or before.is_phone_confirmed)
    if is_new and identity.on_confirmed is not None:
        await identity.on_confirmed(tx, user)


async def create_or_renew(
    tx: Transaction,
    identity: Identity,
    address: str,
    password_hash: str | None,
    data: Mapping[str, Any],
) -> UserRow | None:
    """The new or still unconfirmed user; None when the address has an account."""
    user = await insert_user(
        tx,
        email=None if is_phone(address) else address,
        phone=address if is_phone(address) else None,
        password_hash=password_hash,
        user_metadata=data,
        app_metadata={},
    )
    if user is not None:
        if identity.on_signed_up is not None:
            await identity.on_signed_up(tx, user)
        return user
    user = await find_user_by_address(tx, address)
    # Without confirmation, renewing would hand an account that somebody else prepared to anybody.
    if user is None or identity.confirms(address):
        return None
    await lock_user(tx, user.id)
    user = await get_user(tx, user.id)
    if user.has_confirmed(address) or user.deleted_at is not None:
        return None
    await replace_pending_user(tx, user.id, password_hash, data)
    return user


async def ask_to_confirm(
    tx: Transaction, identity: Identity, user: UserId, request: SignUp, client: Client
) -> str | None:
    """Send a new user the code that confirms the address; returns the id of a text message."""
    address = parse_address(request.address, request.channel)
    provider = provider_of(address)
    found = await get_user(tx, user)
    await write_audit_entry(tx, "user_confirmation_requested", found, client, provider=provider)
    if is_phone(address):
        return await send_text_message(
            tx, identity, user, address, CodeKind.CONFIRMATION, request.channel
        )
    flow = await begin_flow(tx, user, request.challenge, Method.EMAIL_SIGN_UP)
    await send_confirmation(tx, identity, user, address, Destination(request.redirect_to, flow))
    return None


async def _answer_owner(
    tx: Transaction, identity: Identity, address: str, data: Mapping[str, Any], client: Client
) -> UserRow:
    if identity.confirms(address):
        raise UserExists(reason="the address has an account")
    provider = provider_of(address)
    owner = await find_user_by_address(tx, address)
    if owner is not None:
        await write_audit_entry(tx, "user_repeated_signup", owner, client, provider=provider)
        if not is_phone(address):
            await send_account_exists(tx, identity, address)
    at = now()
    return UserRow(
        id=UserId(new_id()),
        email="" if is_phone(address) else address,
        phone=address if is_phone(address) else "",
        role="",
        app_metadata={"provider": provider, "providers": [provider]},
        user_metadata=data,
        confirmation_sent_at=at,
        created_at=at,
        updated_at=at,
    )
