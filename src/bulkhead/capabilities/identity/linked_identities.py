"""Take away one of the ways in which a user can sign in."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from bulkhead.capabilities.identity.codes.service import delete_codes
from bulkhead.capabilities.identity.errors import (
    IdentityInUse,
    IdentityNotFound,
    LastIdentity,
    LinkingDisabled,
    UserBanned,
)
from bulkhead.capabilities.identity.model import Client, CodeKind, LinkedIdentity, UserRow
from bulkhead.capabilities.identity.sessions.service import check_session
from bulkhead.capabilities.identity.users.service import (
    QUERIES as USERS,
)
from bulkhead.capabilities.identity.users.service import (
    get_user,
    lock_user,
    refresh_providers,
    write_audit_entry,
)
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.drivers.errors import UniqueViolated

if TYPE_CHECKING:
    from bulkhead.capabilities.identity.identity import Identity
    from bulkhead.engine.connections.claims import Claims
    from bulkhead.engine.connections.transaction import Transaction


async def unlink_identity(
    identity: Identity, claims: Claims, identity_id: UUID, client: Client
) -> None:
    """Let the user of `claims` no longer sign in in one way.

    With it goes what only that way knew: the number of a telephone, or an address, for which
    another one that is known takes its place. Raises LinkingDisabled, SessionNotFound, UserBanned,
    LastIdentity, IdentityNotFound, and IdentityInUse when somebody else has that address.
    """
    if not identity.settings.manual_linking_enabled:
        raise LinkingDisabled(what="Linking")
    async with identity.users.transaction(SERVICE) as tx:
        user_id, _ = await check_session(tx, claims)
        await lock_user(tx, user_id)
        # Once more: what we waited for may have signed the user out.
        await check_session(tx, claims)
        user = await get_user(tx, user_id)
        if user.is_banned:
            raise UserBanned
        if len(user.identities) <= 1:
            raise LastIdentity
        linked = _find(user, identity_id)
        await write_audit_entry(
            tx,
            "identity_unlinked",
            user,
            client,
            identity_id=linked.identity_id,
            provider=linked.provider,
            provider_id=linked.provider_id,
        )
        await tx.execute(USERS.delete_identity, identity_id, user_id)
        await _forget_address(tx, user, linked)
        await refresh_providers(tx, user_id)


def _find(user: UserRow, identity_id: UUID) -> LinkedIdentity:
    for linked in user.identities:
        if linked.identity_id == str(identity_id):
            return linked
    raise IdentityNotFound


async def _forget_address(tx: Transaction, user: UserRow, linked: LinkedIdentity) -> None:
    if linked.provider == "phone":
        await tx.execute(USERS.forget_phone, user.id)
        await delete_codes(tx, user.id, (CodeKind.PHONE_CHANGE, CodeKind.REAUTHENTICATION))
        return
    try:
        moved = await tx.fetchval(USERS.take_email_of_identities, user.id)
    except UniqueViolated:
        raise IdentityInUse from None
    if moved is not None:
        await delete_codes(tx, user.id, CodeKind)
