"""List, create, change and delete any user; for the application itself, never for a user."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bulkhead.capabilities.identity.errors import EmailTaken, PhoneTaken, UserExists
from bulkhead.capabilities.identity.model import UserId, UserRow, render_instant
from bulkhead.capabilities.identity.users.service import list_users_by_id
from bulkhead.engine.connections.queries import load_queries
from bulkhead.engine.drivers.errors import UniqueViolated

if TYPE_CHECKING:
    from bulkhead.engine.connections.transaction import Transaction

QUERIES = load_queries(__package__)

PER_PAGE_MAX = 1000
PAGE_MAX = 1_000_000
BURIED_PHONE_LENGTH = 15


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of a list is wanted; pages are counted from one."""

    number: int
    size: int

    @property
    def limit(self) -> int:
        """How many items it has at most."""
        return min(self.size, PER_PAGE_MAX)

    @property
    def offset(self) -> int:
        """How many items come before it."""
        return (min(self.number, PAGE_MAX) - 1) * self.limit


@dataclass(frozen=True, slots=True)
class PagedUsers:
    """A page of users and how many there are on all pages."""

    users: Sequence[UserRow]
    total: int


@dataclass(frozen=True, slots=True)
class PagedEntries:
    """A page of the audit log, as clients read it, and how many entries are on all pages."""

    entries: Sequence[Mapping[str, Any]]
    total: int


async def list_users(
    tx: Transaction, page: Page, filter_: str = "", *, ascending: bool = False
) -> PagedUsers:
    """A page of the users whose address or full name contains `filter_`, by their creation."""
    query = QUERIES.page_users_ascending if ascending else QUERIES.page_users
    rows = await tx.fetch(query, filter_, page.limit, page.offset)
    users = await list_users_by_id(tx, [UserId(row["id"]) for row in rows])
    return PagedUsers(users, await tx.fetchval(QUERIES.count_users, filter_))


async def check_addresses(
    tx: Transaction, email: str | None, phone: str | None, user: UserId | None = None
) -> None:
    """Raise EmailTaken or PhoneTaken when they belong to anybody but `user`."""
    row = await tx.fetchrow(QUERIES.find_takers, email, phone)
    assert row is not None, "a query without tables has a row"
    if row["email_of"] not in (None, user):
        raise EmailTaken(reason="another user has it")
    if row["phone_of"] not in (None, user):
        raise PhoneTaken(reason="another user has it")


async def insert_user(  # noqa: PLR0913
    tx: Transaction,
    user: UserId,
    *,
    email: str | None,
    phone: str | None,
    role: str,
    password_hash: str | None,
    app_metadata: Mapping[str, Any],
    user_metadata: Mapping[str, Any],
) -> None:
    """Create a user called `user` without identities; raises UserExists."""
    created = await tx.fetchval(
        QUERIES.insert_user,
        user,
        role,
        email,
        phone,
        password_hash,
        json.dumps({name: value for name, value in app_metadata.items() if value is not None}),
        json.dumps(user_metadata),
    )
    if created is None:
        raise UserExists(reason="there is a user with this id, address or number")


async def set_role(tx: Transaction, user: UserId, role: str) -> None:
    """Call `user` something else; tokens name the role `authenticated` all the same."""
    await tx.execute(QUERIES.set_role, user, role)


async def set_email(tx: Transaction, user: UserId, email: str) -> None:
    """Give `user` another address; raises EmailTaken."""
    try:
        await tx.execute(QUERIES.set_email, user, email)
    except UniqueViolated:
        raise EmailTaken(reason="another user has it") from None


async def set_phone(tx: Transaction, user: UserId, phone: str) -> None:
    """Give `user` another number; raises PhoneTaken."""
    try:
        await tx.execute(QUERIES.set_phone, user, phone)
    except UniqueViolated:
        raise PhoneTaken(reason="another user has it") from None


async def end_anonymity(tx: Transaction, user: UserId) -> None:
    """Note that `user` has a confirmed address now."""
    await tx.execute(QUERIES.end_anonymity, user)


async def ban(tx: Transaction, user: UserId, for_s: float | None) -> None:
    """Keep `user` out for `for_s` seconds, None to let them in."""
    await tx.execute(QUERIES.ban, user, for_s)


async def set_password(tx: Transaction, user: UserId, password_hash: str | None) -> None:
    """Replace a password; signs `user` out everywhere and takes back every code."""
    await tx.execute(QUERIES.set_password, user, password_hash)


async def note_invitation(tx: Transaction, user: UserId) -> None:
    """Note that a mail invites `user`."""
    await tx.execute(QUERIES.note_invitation, user)


async def delete_user(tx: Transaction, user: UserId) -> bool:
    """Delete `user` with everything that refers to them; False when they are gone already."""
    return await tx.fetchval(QUERIES.delete_user, user) is not None


async def bury_user(tx: Transaction, user: UserId) -> None:
    """Keep the row of `user`, by which others refer to it, and nothing that says who it was.

    Addresses, numbers and the names of identities become hashes, as Supabase's Auth server makes
    them, so that nobody else's can be among them.
    """
    row = await tx.fetchrow(QUERIES.read_addresses, user)
    assert row is not None, "the user was locked"
    await tx.execute(
        QUERIES.bury_user,
        user,
        _bury(user, row["email"]),
        _bury(user, row["phone"])[:BURIED_PHONE_LENGTH],
        _bury(user, row["email_change"]),
        _bury(user, row["phone_change"])[:BURIED_PHONE_LENGTH],
        row["identity_ids"],
        [_bury(user, name) for name in row["identity_names"]],
    )


async def list_audit_log(
    tx: Transaction, page: Page, fields: Sequence[str] = (), text: str = ""
) -> PagedEntries:
    """A page of the audit log, of entries in which one of `fields` contains `text`."""
    names = list(fields) if text else []
    rows = await tx.fetch(QUERIES.page_audit_log, names, text, page.limit, page.offset)
    entries = [
        {
            "id": str(row["id"]),
            "payload": json.loads(row["payload"]),
            "created_at": render_instant(row["created_at"]),
            "ip_address": row["ip_address"],
        }
        for row in rows
    ]
    return PagedEntries(entries, await tx.fetchval(QUERIES.count_audit_log, names, text))


def _bury(user: UserId, value: str) -> str:
    digest = hashlib.sha256(f"{user}{value}".encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")
