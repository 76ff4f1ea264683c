"""Users in their database: found, created, confirmed and changed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from email_validator import EmailNotValidError, validate_email

from bulkhead.capabilities.identity.errors import EmailInvalid, UserNotFound
from bulkhead.capabilities.identity.model import (
    Client,
    UserId,
    UserRow,
    parse_user,
    render_instant,
)
from bulkhead.engine.clock import now
from bulkhead.engine.connections.queries import load_queries
from bulkhead.engine.errors import Invalid
from bulkhead.engine.ids import new_id

if TYPE_CHECKING:
    from bulkhead.capabilities.identity.settings import IdentitySettings
    from bulkhead.engine.connections.transaction import Transaction

QUERIES = load_queries(__package__)

EMAIL_LENGTH_MAX = 255
AUDIT_DAYS = 365


def parse_email(text: object) -> str:
    """The address in the form in which it is stored and compared; raises EmailInvalid.

    ASCII and lower case, so that two spellings of one address never make two users.
    """
    if not isinstance(text, str) or not text.strip():
        raise EmailInvalid(reason="it is missing")
    if len(text) > EMAIL_LENGTH_MAX:
        raise EmailInvalid(reason="it is too long")
    try:
        checked = validate_email(
            text.strip(),
            allow_smtputf8=False,
            check_deliverability=False,
            test_environment=True,  # allows the domain `.test`, which is reserved for trying out
        )
    except EmailNotValidError:
        raise EmailInvalid(reason="invalid format") from None
    return (checked.ascii_email or checked.normalized).lower()


def check_metadata(data: object, settings: IdentitySettings) -> Mapping[str, Any]:
    """Accept an object that is not too large to travel in every token; raises Invalid."""
    if data is None:
        return {}
    if not isinstance(data, Mapping):
        raise Invalid(reason="data must be an object")
    size = len(json.dumps(data, ensure_ascii=False).encode(errors="replace"))
    if size > settings.metadata_bytes_max:
        raise Invalid(reason=f"data must not exceed {settings.metadata_bytes_max} bytes")
    return data


async def find_user(tx: Transaction, user: UserId) -> UserRow | None:
    """The user, or None."""
    row = await tx.fetchrow(QUERIES.get_user, user)
    return None if row is None else parse_user(row)


async def get_user(tx: Transaction, user: UserId) -> UserRow:
    """The user; raises UserNotFound."""
    found = await find_user(tx, user)
    if found is None:
        raise UserNotFound(what="User")
    return found


async def find_user_id(tx: Transaction, email: str) -> UserId | None:
    """The id of the user whom an address from `parse_email` belongs to, or None."""
    found = await tx.fetchval(QUERIES.find_user_id, email)
    return None if found is None else UserId(found)


async def find_user_by_email(tx: Transaction, email: str) -> UserRow | None:
    """The user whom an address from `parse_email` belongs to, or None."""
    user = await find_user_id(tx, email)
    return None if user is None else await find_user(tx, user)


async def find_credentials(tx: Transaction, email: str) -> tuple[UserId, str | None] | None:
    """The user of an address and the hash of the password, or None."""
    row = await tx.fetchrow(QUERIES.find_credentials, email)
    return None if row is None else (UserId(row["id"]), row["encrypted_password"])


async def find_password_hash(tx: Transaction, user: UserId) -> str | None:
    """The hash of a user's password, None without one."""
    hashed: str | None = await tx.fetchval(QUERIES.get_password_hash, user)
    return hashed


async def insert_user(
    tx: Transaction,
    *,
    email: str,
    password_hash: str | None,
    user_metadata: Mapping[str, Any],
    app_metadata: Mapping[str, Any],
    confirmed: bool,
) -> UserRow | None:
    """Create a user who signs in with e-mail address and password; None if there is one."""
    user = UserId(new_id())
    created = await tx.fetchval(
        QUERIES.insert_user,
        user,
        email,
        password_hash,
        confirmed,
        json.dumps({**app_metadata, "provider": "email", "providers": ["email"]}),
        json.dumps(user_metadata),
    )
    if created is None:
        return None
    await tx.execute(QUERIES.insert_identity, new_id(), user, email, confirmed)
    return await get_user(tx, user)


async def replace_pending_user(
    tx: Transaction, user: UserId, password_hash: str, user_metadata: Mapping[str, Any]
) -> None:
    """Let the latest sign-up with an unconfirmed address count instead of the one before."""
    await tx.execute(QUERIES.replace_pending_user, user, password_hash, json.dumps(user_metadata))


async def confirm_user(tx: Transaction, user: UserId) -> bool:
    """Note that the user's address is confirmed; False when it was before."""
    return await tx.fetchval(QUERIES.confirm_user, user) is not None


async def lock_credentials(tx: Transaction, user: UserId, password_hash: str) -> bool:
    """Whether `password_hash` is still the user's; then it stays so until the transaction ends."""
    return await tx.fetchval(QUERIES.lock_credentials, user, password_hash) is not None


async def lock_user(tx: Transaction, user: UserId) -> None:
    """Wait for other changes of the user, and let others wait."""
    await tx.execute(QUERIES.lock_user, user)


async def merge_user_metadata(
    tx: Transaction, user: UserId, data: Mapping[str, Any], settings: IdentitySettings
) -> None:
    """Set keys of `user_metadata`, delete those that are None; raises Invalid when too large."""
    size = await tx.fetchval(QUERIES.merge_user_metadata, user, json.dumps(data))
    if size is not None and size > settings.metadata_bytes_max:
        raise Invalid(reason=f"data must not exceed {settings.metadata_bytes_max} bytes")


async def merge_app_metadata(tx: Transaction, user: UserId, data: Mapping[str, Any]) -> None:
    """Set keys of `app_metadata`, `role` among them; delete those that are None."""
    await tx.execute(QUERIES.merge_app_metadata, user, json.dumps(data))


async def write_audit_entry(
    tx: Transaction,
    action: str,
    user: UserRow,
    client: Client,
    log_type: str = "account",
    **traits: object,
) -> None:
    """Log that `user` did `action`, in the words of Supabase's audit log."""
    payload = {
        "action": action,
        "actor_id": str(user.id),
        "actor_username": user.email,
        "actor_via_sso": False,
        "log_type": log_type,
        "timestamp": render_instant(now()),
        **({"traits": traits} if traits else {}),
    }
    await tx.execute(QUERIES.write_audit_entry, new_id(), json.dumps(payload), client.address or "")


async def prune_audit_log(tx: Transaction) -> None:
    """Forget what happened more than AUDIT_DAYS ago."""
    await tx.execute(QUERIES.prune_audit_log, AUDIT_DAYS)
