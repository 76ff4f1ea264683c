"""What users see and change of themselves, and what the operator does for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bulkhead.capabilities.identity.address_change import (
    finish_email_change,
    finish_phone_change,
)
from bulkhead.capabilities.identity.addresses import check_enabled
from bulkhead.capabilities.identity.codes.service import prune_codes
from bulkhead.capabilities.identity.errors import (
    EmailTaken,
    PhoneTaken,
    UserExists,
    UserNotFound,
)
from bulkhead.capabilities.identity.factors.service import check_level, prune_factors
from bulkhead.capabilities.identity.flows.service import begin_flow, prune_flows
from bulkhead.capabilities.identity.letters import (
    Destination,
    needs_both,
    send_email_change,
    send_text_message,
)
from bulkhead.capabilities.identity.limits.service import prune as prune_limits
from bulkhead.capabilities.identity.mail.service import prune_mail
from bulkhead.capabilities.identity.model import (
    Challenge,
    Channel,
    Client,
    CodeKind,
    Method,
    Tokens,
    UserRow,
    is_phone,
)
from bulkhead.capabilities.identity.password_change import (
    PasswordWish,
    prepare_password,
    set_password,
)
from bulkhead.capabilities.identity.passwords import check_password
from bulkhead.capabilities.identity.sessions.service import check_session, prune_sessions
from bulkhead.capabilities.identity.users.service import (
    QUERIES as USERS,
)
from bulkhead.capabilities.identity.users.service import (
    check_metadata,
    find_user_by_address,
    find_user_by_email,
    get_active_user,
    get_user,
    insert_user,
    lock_user,
    merge_user_metadata,
    parse_email,
    parse_phone,
    prune_audit_log,
    write_audit_entry,
)
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.errors import Invalid

if TYPE_CHECKING:
    from bulkhead.capabilities.identity.identity import Identity
    from bulkhead.engine.connections.claims import Claims
    from bulkhead.engine.connections.transaction import Transaction


@dataclass(frozen=True, slots=True)
class UserChange:
    """What a user wants to change; None leaves it as it is."""

    email: str | None = None
    phone: str | None = None
    password: str | None = field(default=None, repr=False)
    current_password: str | None = field(default=None, repr=False)
    """Checked where it is given."""
    nonce: str | None = field(default=None, repr=False)
    """A code of `/reauthenticate`."""
    data: Mapping[str, Any] | None = None
    """Keys of `user_metadata` to set, or to delete where they are None."""
    redirect_to: str | None = None
    challenge: Challenge | None = None
    channel: Channel = Channel.SMS
    """How the code for a number is sent."""


async def get_current_user(identity: Identity, claims: Claims) -> UserRow:
    """The user of `claims`, by the database; raises SessionNotFound, UserBanned, UserNotFound."""
    async with identity.users.transaction(SERVICE, read_only=True) as tx:
        user_id, _ = await check_session(tx, claims)
        return await get_active_user(tx, user_id)


async def update_current_user(
    identity: Identity, claims: Claims, change: UserChange, client: Client
) -> UserRow:
    """Change the user of `claims`.

    A new address counts once it is confirmed, by a mail to it and one to the present address; a
    number by a message to it. A new password signs out everywhere else, and voids what was sent
    before. Raises what `get_current_user` and `prepare_password` raise, EmailInvalid,
    PhoneInvalid, EmailDisabled, PhoneDisabled, EmailTaken, PhoneTaken, RateLimited and its kinds,
    SecondFactorRequired, InvalidCredentials when the password was changed meanwhile, and Invalid.
    """
    await identity.limit_client(identity.settings.limits.change_user, client)
    async with identity.users.transaction(SERVICE, read_only=True) as tx:
        user_id, session_id = await check_session(tx, claims)
        user = await get_active_user(tx, user_id)
        wanted = _parse_addresses(user, change)
        if change.password is not None or wanted:
            await check_level(tx, user_id, session_id)
    data = check_metadata(change.data, identity.settings)
    if change.password is not None and user.is_anonymous and not (change.email or change.phone):
        raise Invalid(
            reason="Updating password of an anonymous user without an email or phone is not allowed"
        )
    await _check_addresses(identity, user, wanted)
    password = None
    if change.password is not None:
        wish = PasswordWish(change.password, change.current_password, change.nonce)
        password = await prepare_password(identity, user, session_id, wish)
    async with identity.users.transaction(SERVICE) as tx:
        await lock_user(tx, user_id)
        # Once more: what we waited for may have changed the user, or signed them out.
        await check_session(tx, claims)
        user = await get_active_user(tx, user_id)
        if password is not None:
            await set_password(tx, user, session_id, password, client)
        if data:
            await merge_user_metadata(tx, user_id, data, identity.settings)
        await _change_addresses(tx, identity, user, change, client)
        await write_audit_entry(tx, "user_modified", user, client)
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
        await write_audit_entry(tx, "user_signedup", user, Client(), provider="email")
        return user


async def sign_in_as(identity: Identity, email: str) -> Tokens:
    """Tokens of the user with this address, for the operator; raises UserNotFound, UserBanned."""
    async with identity.users.transaction(SERVICE) as tx:
        user = await find_user_by_email(tx, parse_email(email))
        if user is None:
            raise UserNotFound(what="User")
        return await identity.issue_token(tx, await get_active_user(tx, user.id))


async def tidy(identity: Identity) -> None:
    """Forget what is over: sessions, codes, factors, mails, full buckets, old log. Repeatable."""
    async with identity.users.transaction(SERVICE) as tx:
        await prune_sessions(tx, identity.settings)
        await prune_codes(tx, identity.settings)
        await prune_flows(tx)
        await prune_factors(tx, identity.settings)
        await prune_mail(tx)
        await prune_limits(tx)
        await prune_audit_log(tx)


def _parse_addresses(user: UserRow, change: UserChange) -> dict[Channel, str]:
    """The address and the number that `user` does not have yet, by how they are reached."""
    wanted = {}
    if change.email and (email := parse_email(change.email)) != user.email:
        wanted[Channel.EMAIL] = email
    if change.phone and (phone := parse_phone(change.phone)) != user.phone:
        wanted[change.channel] = phone
    return wanted


async def _check_addresses(
    identity: Identity, user: UserRow, wanted: Mapping[Channel, str]
) -> None:
    """Whether they can be asked for, and count the messages about them; each for itself."""
    for channel, address in wanted.items():
        check_enabled(identity.settings, channel, "logins")
        async with identity.users.transaction(SERVICE, read_only=True) as tx:
            if await find_user_by_address(tx, address) is not None:
                taken = EmailTaken if channel is Channel.EMAIL else PhoneTaken
                raise taken(reason="another user has it")
    for channel, address in wanted.items():
        if not _is_at_once(identity, user, address):
            await identity.limit_message(address, _kind_of(address))
        if channel is Channel.EMAIL and needs_both(identity, user):
            await identity.limit_message(user.email, CodeKind.EMAIL_CHANGE_CURRENT)


async def _change_addresses(
    tx: Transaction, identity: Identity, user: UserRow, change: UserChange, client: Client
) -> None:
    for channel, address in _parse_addresses(user, change).items():
        at_once = _is_at_once(identity, user, address)
        match channel:
            case Channel.EMAIL if at_once:
                await tx.execute(USERS.begin_email_change, user.id, address)
                await finish_email_change(tx, identity, user, client)
            case Channel.EMAIL:
                flow = await begin_flow(tx, user.id, change.challenge, Method.EMAIL_CHANGE)
                destination = Destination(change.redirect_to, flow)
                await send_email_change(tx, identity, user, address, destination)
            case _ if at_once:
                await tx.execute(USERS.begin_phone_change, user.id, address)
                await finish_phone_change(tx, identity, user, client)
            case _:
                await send_text_message(
                    tx, identity, user.id, address, CodeKind.PHONE_CHANGE, channel
                )


def _is_at_once(identity: Identity, user: UserRow, address: str) -> bool:
    """Whether an address becomes the user's without being shown to be.

    Where addresses count as confirmed, adding one to an anonymous user is like signing up; who has
    one already shows that the other one is theirs, too.
    """
    if not identity.confirms(address):
        return False
    return user.is_anonymous or is_phone(address)


def _kind_of(address: str) -> CodeKind:
    return CodeKind.PHONE_CHANGE if is_phone(address) else CodeKind.EMAIL_CHANGE_NEW
