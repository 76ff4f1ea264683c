"""Issue and redeem one-time codes.

A mail holds the same permission twice: as a link with a long secret, and as six digits to type in.
The secret cannot be guessed. The digits can, so they count only together with the address they
were sent to, and for a few attempts. (Supabase's link holds a hash of address and digits, which
lets everybody who knows an address try all digits through the link.)

Whoever voids codes has locked the user before; so whoever redeems one locks the user first, too.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import UUID

from bulkhead.capabilities.identity.model import CodeKind, UserId, is_phone
from bulkhead.engine.connections.queries import load_queries
from bulkhead.engine.ids import new_id

if TYPE_CHECKING:
    from bulkhead.capabilities.identity.settings import IdentitySettings
    from bulkhead.engine.connections.transaction import Transaction

QUERIES = load_queries(__package__)

DIGITS = 6
SECRET_BYTES = 28
FLOW_PREFIX = "pkce_"
"""Begins the secret of a link that ends with a code for a client instead of tokens."""


@dataclass(frozen=True, slots=True)
class IssuedCode:
    """What the mail says; the database holds only the hashes."""

    digits: str = field(repr=False)
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class RedeemedCode:
    """Whoever showed this code reads the mail of `address`."""

    user_id: UserId
    kind: CodeKind
    address: str
    flow_id: UUID | None = None
    """The sign-in under way, when a client began one."""


async def issue_code(
    tx: Transaction,
    user: UserId,
    kind: CodeKind,
    address: str,
    *,
    flow_id: UUID | None = None,
    digits: str | None = None,
) -> IssuedCode:
    """Make a code for `user` that replaces any earlier one of its kind.

    For a user who does not exist the code opens nothing. `digits` are those of a test number.
    """
    digits = digits or f"{secrets.randbelow(10**DIGITS):0{DIGITS}}"
    secret = ("" if flow_id is None else FLOW_PREFIX) + secrets.token_hex(SECRET_BYTES)
    await tx.execute(
        QUERIES.put_code,
        new_id(),
        user,
        kind.value,
        _hash(secret),
        _hash(f"{address}:{digits}"),
        address,
        flow_id,
    )
    return IssuedCode(digits, secret)


async def redeem_link(
    tx: Transaction, secret: str, kinds: Iterable[CodeKind], settings: IdentitySettings
) -> RedeemedCode | None:
    """Use up the code of a link; None when it has expired, was used or never existed.

    Its user is locked.
    """
    hashed = _hash(secret)
    await tx.execute(QUERIES.lock_user_of_link, hashed)
    row = await tx.fetchrow(
        QUERIES.redeem_link, hashed, [kind.value for kind in kinds], settings.code_ttl_s
    )
    if row is None:
        return None
    return _redeemed(row)


async def redeem_digits(
    tx: Transaction,
    address: str,
    digits: str,
    kinds: Iterable[CodeKind],
    settings: IdentitySettings,
) -> RedeemedCode | None:
    """Use up the code that was sent to `address`; None when the digits are wrong or too late.

    A failure counts, so the transaction must commit then, too. Of any number of guesses at once
    no more than `settings.code_attempts` are compared. The user is locked.
    """
    names = [kind.value for kind in kinds]
    users = [row["id"] for row in await tx.fetch(QUERIES.lock_users_of_codes, address, names)]
    rows = await tx.fetch(
        QUERIES.try_code,
        address,
        names,
        settings.sms_code_ttl_s if is_phone(address) else settings.code_ttl_s,
        settings.code_attempts,
        _hash(f"{address}:{digits}"),
        users,
    )
    for row in rows:
        if row["opened"] and await tx.fetchval(QUERIES.delete_code, row["id"]):
            return _redeemed(row)
    return None


async def delete_codes(tx: Transaction, user: UserId, kinds: Iterable[CodeKind]) -> None:
    """Take back codes that were sent to `user`."""
    await tx.execute(QUERIES.delete_codes, user, [kind.value for kind in kinds])


async def prune_codes(tx: Transaction, settings: IdentitySettings) -> None:
    """Forget the codes that have expired."""
    await tx.execute(QUERIES.prune_codes, settings.code_ttl_s, settings.sms_code_ttl_s)


def _redeemed(row: Mapping[str, Any]) -> RedeemedCode:
    return RedeemedCode(
        UserId(row["user_id"]),
        CodeKind(row["token_type"]),
        row["relates_to"],
        row["flow_state_id"],
    )


def _hash(text: str) -> str:
    return hashlib.sha224(text.encode(errors="replace")).hexdigest()
