"""Give a user another address or number that was shown to be theirs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bulkhead.capabilities.identity.codes.service import delete_codes
from bulkhead.capabilities.identity.errors import EmailTaken, PhoneTaken
from bulkhead.capabilities.identity.model import Client, CodeKind, UserRow
from bulkhead.capabilities.identity.sign_up import welcome
from bulkhead.capabilities.identity.users.service import (
    QUERIES as USERS,
)
from bulkhead.capabilities.identity.users.service import (
    get_user,
    put_identity,
    refresh_providers,
    write_audit_entry,
)
from bulkhead.engine.drivers.errors import UniqueViolated

if TYPE_CHECKING:
    from bulkhead.capabilities.identity.identity import Identity
    from bulkhead.engine.connections.transaction import Transaction


async def finish_email_change(
    tx: Transaction, identity: Identity, user: UserRow, client: Client
) -> UserRow:
    """Let the address that `user` wants be theirs; every code sent before is void.

    The row of the user is locked. Raises EmailTaken.
    """
    try:
        email = await tx.fetchval(USERS.finish_email_change, user.id)
    except UniqueViolated:
        raise EmailTaken(reason="somebody else has signed up with it") from None
    return await _finish(tx, identity, user, email, client)


async def finish_phone_change(
    tx: Transaction, identity: Identity, user: UserRow, client: Client
) -> UserRow:
    """Let the number that `user` wants be theirs, as `finish_email_change`; raises PhoneTaken."""
    try:
        phone = await tx.fetchval(USERS.finish_phone_change, user.id)
    except UniqueViolated:
        raise PhoneTaken(reason="somebody else has signed up with it") from None
    return await _finish(tx, identity, user, phone, client)


async def _finish(
    tx: Transaction, identity: Identity, before: UserRow, address: str | None, client: Client
) -> UserRow:
    if address is not None:
        await put_identity(tx, before.id, address, verified=True)
        await refresh_providers(tx, before.id)
        await delete_codes(tx, before.id, CodeKind)
    user = await get_user(tx, before.id)
    await write_audit_entry(tx, "user_modified", user, client)
    await welcome(tx, identity, before, user)
    return user
