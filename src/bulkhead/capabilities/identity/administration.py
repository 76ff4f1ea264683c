"""What the application itself may do to any user: no limits, no mail, and nobody is asked.

Callers have made sure that it is the application, by its service key. The rules are those of
Supabase's Auth server; where it fails with 500 for an address that is taken, we say so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import UUID

from bulkhead.capabilities.identity.directory import service as directory
from bulkhead.capabilities.identity.directory.service import Page, PagedEntries, PagedUsers
from bulkhead.capabilities.identity.factors import service as factors
from bulkhead.capabilities.identity.factors.model import FactorNameTaken
from bulkhead.capabilities.identity.model import (
    AUDIENCE,
    Client,
    Factor,
    UserId,
    UserRow,
    provider_of,
)
from bulkhead.capabilities.identity.passwords import check_password, check_password_hash
from bulkhead.capabilities.identity.sign_up import welcome
from bulkhead.capabilities.identity.users.service import (
    check_metadata,
    confirm_address,
    find_user,
    get_user,
    lock_user,
    merge_app_metadata,
    merge_user_metadata,
    put_identity,
    refresh_providers,
    write_audit_entry,
)
from bulkhead.engine.clock import now
from bulkhead.engine.connections.claims import SERVICE, Role
from bulkhead.engine.drivers.errors import UniqueViolated
from bulkhead.engine.errors import NotFound
from bulkhead.engine.ids import new_id

if TYPE_CHECKING:
    from bulkhead.capabilities.identity.identity import Identity
    from bulkhead.engine.connections.transaction import Transaction


class UserUnknown(NotFound):
    """There is no user with this id."""

    code = "unknown_user_id"


@dataclass(frozen=True, slots=True)
class UserSpec:
    """What a user shall be like; None leaves it as it is, or at its default."""

    id: UUID | None = None
    """Only for a new user."""
    email: str | None = None
    phone: str | None = None
    email_confirm: bool = False
    phone_confirm: bool = False
    password: str | None = field(default=None, repr=False)
    password_hash: str | None = field(default=None, repr=False)
    """Only for a new user: of a password that somebody else hashed."""
    role: str | None = None
    app_metadata: Mapping[str, Any] | None = None
    user_metadata: Mapping[str, Any] | None = None
    """Of both: keys to set, or to take away where they are None."""
    ban_s: float | None = None
    """For how long the user cannot sign in; 0 lets them."""


async def list_users(
    identity: Identity, page: Page, filter_: str = "", *, ascending: bool = False
) -> PagedUsers:
    """A page of the users whose address or full name contains `filter_`, by their creation."""
    async with identity.users.transaction(SERVICE, read_only=True) as tx:
        return await directory.list_users(tx, page, filter_, ascending=ascending)


async def get_any_user(identity: Identity, user_id: UUID) -> UserRow:
    """A user, deleted softly or not; raises UserUnknown."""
    async with identity.users.transaction(SERVICE, read_only=True) as tx:
        return await _get(tx, UserId(user_id))


async def add_user(identity: Identity, spec: UserSpec, client: Client) -> UserRow:
    """Create a user from addresses that were parsed.

    Raises EmailTaken, PhoneTaken, UserExists, PasswordTooLong, PasswordHashInvalid, Invalid.
    """
    if spec.password_hash is not None:
        check_password_hash(spec.password_hash)
    metadata = check_metadata(spec.user_metadata, identity.settings)
    async with identity.users.transaction(SERVICE, read_only=True) as tx:
        await directory.check_addresses(tx, spec.email, spec.phone)
    password_hash = spec.password_hash
    if spec.password:
        password_hash = await identity.passwords.hash(spec.password)
    addresses = [address for address in (spec.email, spec.phone) if address]
    providers = [provider_of(address) for address in addresses]
    user_id = UserId(spec.id or new_id())
    async with identity.users.transaction(SERVICE) as tx:
        await directory.insert_user(
            tx,
            user_id,
            email=spec.email,
            phone=spec.phone,
            role=spec.role or AUDIENCE,
            password_hash=password_hash,
            app_metadata={
                "provider": providers[0],
                "providers": providers,
                **(spec.app_metadata or {}),
            },
            user_metadata=metadata,
        )
        for address in addresses:
            await put_identity(tx, user_id, address, verified=False)
        user = await get_user(tx, user_id)
        if identity.on_signed_up is not None:
            await identity.on_signed_up(tx, user)
        await audit(tx, "user_signedup", user, client, provider=providers[0])
        await _confirm(tx, identity, user, spec)
        if spec.ban_s:
            await directory.ban(tx, user_id, spec.ban_s)
        return await get_user(tx, user_id)


async def change_user(identity: Identity, user_id: UUID, spec: UserSpec, client: Client) -> UserRow:
    """Change a user; another password signs out everywhere.

    Raises UserUnknown, EmailTaken, PhoneTaken, PasswordWeak, PasswordTooLong, Invalid.
    """
    user_id = UserId(user_id)
    await get_any_user(identity, user_id)
    metadata = check_metadata(spec.user_metadata, identity.settings)
    password_hash = None
    if spec.password is not None:
        check_password(spec.password, identity.settings)
        password_hash = await identity.passwords.hash(spec.password)
    async with identity.users.transaction(SERVICE) as tx:
        user = await _lock(tx, user_id)
        await directory.check_addresses(tx, spec.email, spec.phone, user_id)
        if spec.role:
            await directory.set_role(tx, user_id, spec.role)
        if password_hash is not None:
            await directory.set_password(tx, user_id, password_hash)
        await _change_addresses(tx, user_id, spec)
        await _confirm(tx, identity, user, spec)
        if spec.app_metadata is not None:
            await merge_app_metadata(tx, user_id, spec.app_metadata)
        if metadata:
            await merge_user_metadata(tx, user_id, metadata, identity.settings)
        if spec.ban_s is not None:
            await directory.ban(tx, user_id, spec.ban_s or None)
        user = await get_user(tx, user_id)
        await audit(tx, "user_modified", user, client)
        return user


async def delete_user(identity: Identity, user_id: UUID, client: Client, *, softly: bool) -> None:
    """Delete a user, or `softly` everything that says who it was; raises UserUnknown.

    Repeating the latter changes nothing.
    """
    user_id = UserId(user_id)
    async with identity.users.transaction(SERVICE) as tx:
        user = await _lock(tx, user_id)
        await audit(tx, "user_deleted", user, client)
        if not softly:
            await directory.delete_user(tx, user_id)
        elif user.deleted_at is None:
            await directory.bury_user(tx, user_id)


async def remove_factor(
    identity: Identity, user_id: UUID, factor_id: UUID, client: Client
) -> Factor:
    """Take a second factor from a user, for example a lost one; raises FactorNotFound."""
    async with identity.users.transaction(SERVICE) as tx:
        user = await _lock(tx, UserId(user_id))
        factor = (await factors.get_factor(tx, user.id, factor_id)).factor
        await factors.delete_factor(tx, user.id, factor)
        traits = {"user_id": str(user.id), "factor_id": factor.id}
        await write_audit_entry(tx, "factor_deleted", user, client, **traits)
        return factor


async def rename_factor(
    identity: Identity, user_id: UUID, factor_id: UUID, name: str, client: Client
) -> Factor:
    """Call a second factor something else; raises FactorNotFound, FactorNameTaken."""
    async with identity.users.transaction(SERVICE) as tx:
        user = await _lock(tx, UserId(user_id))
        factor = (await factors.get_factor(tx, user.id, factor_id)).factor
        if name:
            try:
                await factors.rename_factor(tx, user.id, factor, name)
            except UniqueViolated:
                raise FactorNameTaken(name=name) from None
        traits = {
            "user_id": str(user.id),
            "factor_id": factor.id,
            "factor_type": factor.factor_type,
        }
        await write_audit_entry(tx, "factor_updated", administrator(), client, **traits)
        return (await factors.get_factor(tx, user.id, factor_id)).factor


async def list_audit_log(
    identity: Identity, page: Page, fields: tuple[str, ...] = (), text: str = ""
) -> PagedEntries:
    """A page of what happened, the latest first; of entries of which a field contains `text`."""
    async with identity.users.transaction(SERVICE, read_only=True) as tx:
        return await directory.list_audit_log(tx, page, fields, text)


def administrator() -> UserRow:
    """Who acts, for the audit log: the application itself is no user."""
    nobody = UserId(UUID(int=0))
    return UserRow(nobody, Role.SERVICE.value, created_at=now(), updated_at=now())


async def audit(
    tx: Transaction, action: str, user: UserRow, client: Client, **traits: object
) -> None:
    """Log that the application did `action` to `user`."""
    about = {"user_id": str(user.id), "user_email": user.email, "user_phone": user.phone}
    await write_audit_entry(tx, action, administrator(), client, **about, **traits)


async def _get(tx: Transaction, user_id: UserId) -> UserRow:
    user = await find_user(tx, user_id)
    if user is None:
        raise UserUnknown(what="User")
    return user


async def _lock(tx: Transaction, user_id: UserId) -> UserRow:
    await lock_user(tx, user_id)
    return await _get(tx, user_id)


async def _change_addresses(tx: Transaction, user: UserId, spec: UserSpec) -> None:
    if spec.email:
        await put_identity(tx, user, spec.email, verified=spec.email_confirm)
        await directory.set_email(tx, user, spec.email)
    if spec.phone:
        await put_identity(tx, user, spec.phone, verified=spec.phone_confirm)
        await directory.set_phone(tx, user, spec.phone)
    if spec.email or spec.phone:
        await refresh_providers(tx, user)


async def _confirm(tx: Transaction, identity: Identity, before: UserRow, spec: UserSpec) -> None:
    """Take the word of the application that addresses are the user's."""
    email, phone = spec.email or before.email, spec.phone or before.phone
    wanted = [
        address
        for address, is_wanted in ((email, spec.email_confirm), (phone, spec.phone_confirm))
        if address and is_wanted
    ]
    for address in wanted:
        await confirm_address(tx, before.id, address)
    if wanted:
        await directory.end_anonymity(tx, before.id)
        await welcome(tx, identity, before, await get_user(tx, before.id))
