"""Users in their database: found, created, confirmed and changed."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from email_validator import EmailNotValidError, validate_email

from bulkhead.capabilities.identity.errors import (
    EmailInvalid,
    PhoneInvalid,
    UserBanned,
    UserNotFound,
)
from bulkhead.capabilities.identity.model import (
    Client,
    UserId,
    UserRow,
    is_phone,
    parse_user,
    provider_of,
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
LOG_TYPES: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("login", "logout", "invite_accepted"), "account"),
        **dict.fromkeys(("user_signedup", "user_invited", "user_deleted"), "team"),
        **dict.fromkeys(("token_revoked", "token_refreshed"), "token"),
        **dict.fromkeys(
            (
                *("user_modified", "user_recovery_requested", "user_reauthenticate_requested"),
                *("user_confirmation_requested", "user_repeated_signup", "user_updated_password"),
                *("identity_linked", "identity_unlinked"),
            ),
            "user",
        ),
        **dict.fromkeys(
            (
                *("factor_in_progress", "factor_unenrolled", "challenge_created"),
                *("verification_attempted", "factor_deleted", "factor_updated"),
            ),
            "factor",
        ),
    }
)
"""The actions of Supabase's audit log, and which kind each of them is."""
_E164 = re.compile(r"[1-9][0-9]{1,14}")


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


def parse_phone(text: object) -> str:
    """The number in digits, as it is stored and compared; raises PhoneInvalid.

    Source: E.164, of which the `+` and blanks are left out as Supabase leaves them out.
    """
    if not isinstance(text, str):
        raise PhoneInvalid
    digits = text.removeprefix("+").replace(" ", "")
    if not digits.isascii() or _E164.fullmatch(digits) is None:
        raise PhoneInvalid
    return digits


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
    row = await tx.fetchrow(QUERIES.get_users, [user])
    return None if row is None else parse_user(row)


async def get_user(tx: Transaction, user: UserId) -> UserRow:
    """The user; raises UserNotFound."""
    found = await find_user(tx, user)
    if found is None:
        raise UserNotFound(what="User")
    return found


async def list_users_by_id(tx: Transaction, users: Sequence[UserId]) -> list[UserRow]:
    """Those of `users` that there are, in the same order."""
    found = {row["id"]: parse_user(row) for row in await tx.fetch(QUERIES.get_users, users)}
    return [found[user] for user in users if user in found]


async def get_active_user(tx: Transaction, user: UserId) -> UserRow:
    """The user, who may use the account; raises UserNotFound, UserBanned."""
    found = await get_user(tx, user)
    if found.is_banned:
        raise UserBanned
    if found.deleted_at is not None:
        raise UserNotFound(what="User")
    return found


async def find_user_id(tx: Transaction, address: str) -> UserId | None:
    """The id of the user whom an address or a number belongs to, or None.

    It comes from `parse_email` or `parse_phone`, as everywhere below.
    """
    query = QUERIES.find_user_id_by_phone if is_phone(address) else QUERIES.find_user_id
    found = await tx.fetchval(query, address)
    return None if found is None else UserId(found)


async def find_user_by_address(tx: Transaction, address: str) -> UserRow | None:
    """The user whom an address or a number belongs to, or None."""
    user = await find_user_id(tx, address)
    return None if user is None else await find_user(tx, user)


async def find_user_by_email(tx: Transaction, email: str) -> UserRow | None:
    """The user whom an address belongs to, or None."""
    return await find_user_by_address(tx, email)


async def find_credentials(tx: Transaction, address: str) -> tuple[UserId, str | None] | None:
    """The user of an address or a number and the hash of the password, or None."""
    query = QUERIES.find_credentials_by_phone if is_phone(address) else QUERIES.find_credentials
    row = await tx.fetchrow(query, address)
    return None if row is None else (UserId(row["id"]), row["encrypted_password"])


async def find_password_hash(tx: Transaction, user: UserId) -> str | None:
    """The hash of a user's password, None without one."""
    hashed: str | None = await tx.fetchval(QUERIES.get_password_hash, user)
    return hashed


async def insert_user(  # noqa: PLR0913
    tx: Transaction,
    *,
    user_metadata: Mapping[str, Any],
    app_metadata: Mapping[str, Any],
    email: str | None = None,
    phone: str | None = None,
    password_hash: str | None = None,
    confirmed: bool = False,
) -> UserRow | None:
    """Create a user who signs in with an e-mail address or a number; None if there is one.

    With both, the address comes first. With neither it is an anonymous user. `confirmed` means
    that what is given has been shown to be theirs.
    """
    user = UserId(new_id())
    addresses = [address for address in (email, phone) if address]
    providers = [provider_of(address) for address in addresses]
    said = {"provider": providers[0], "providers": providers} if providers else {}
    created = await tx.fetchval(
        QUERIES.insert_user,
        user,
        email,
        phone,
        password_hash,
        bool(email) and confirmed,
        bool(phone) and confirmed,
        not addresses,
        json.dumps({**app_metadata, **said}),
        json.dumps({**user_metadata, **({"email_verified": True} if email and confirmed else {})}),
    )
    if created is None:
        return None
    for address in addresses:
        await put_identity(tx, user, address, verified=confirmed, known=user_metadata)
    return await get_user(tx, user)


async def put_identity(
    tx: Transaction,
    user: UserId,
    address: str,
    *,
    verified: bool,
    known: Mapping[str, Any] | None = None,
) -> None:
    """Let the user sign in with an address or a number, instead of another of its kind."""
    provider = provider_of(address)
    data = {
        **(known or {}),
        provider: address,
        "email_verified": verified and not is_phone(address),
        "phone_verified": verified and is_phone(address),
    }
    await tx.execute(QUERIES.put_identity, new_id(), user, provider, json.dumps(data))


async def refresh_providers(tx: Transaction, user: UserId) -> None:
    """Have `app_metadata` say how the user signs in."""
    await tx.execute(QUERIES.refresh_providers, user)


async def replace_pending_user(
    tx: Transaction, user: UserId, password_hash: str | None, user_metadata: Mapping[str, Any]
) -> None:
    """Let the latest sign-up with an unconfirmed address count instead of the one before."""
    await tx.execute(QUERIES.replace_pending_user, user, password_hash, json.dumps(user_metadata))


async def confirm_address(tx: Transaction, user: UserId, address: str) -> bool:
    """Note that an address or a number is the user's; False when that was known before."""
    query = QUERIES.confirm_phone if is_phone(address) else QUERIES.confirm_user
    return await tx.fetchval(query, user) is not None


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
    tx: Transaction, action: str, user: UserRow, client: Client, **traits: object
) -> None:
    """Log that `user` did `action`, in the words of Supabase's audit log."""
    await write_audit_entries(tx, (action,), user, client, **traits)


async def write_audit_entries(
    tx: Transaction, actions: Sequence[str], user: UserRow, client: Client, **traits: object
) -> None:
    """Log that `user` did several things at once."""
    name = user.user_metadata.get("full_name")
    payloads = [
        {
            "action": action,
            "actor_id": str(user.id),
            "actor_username": user.phone or user.email,
            "actor_via_sso": False,
            "log_type": LOG_TYPES.get(action, "account"),
            "timestamp": render_instant(now()),
            **({} if name is None else {"actor_name": name}),
            **({"traits": traits} if traits else {}),
        }
        for action in actions
    ]
    await tx.execute(
        QUERIES.write_audit_entries,
        [new_id() for _ in payloads],
        [json.dumps(payload) for payload in payloads],
        client.address or "",
    )


async def prune_audit_log(tx: Transaction) -> None:
    """Forget what happened more than AUDIT_DAYS ago."""
    await tx.execute(QUERIES.prune_audit_log, AUDIT_DAYS)
