"""The queue of mail: rows written by the transaction that causes a mail, claimed after it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

from bulkhead.capabilities.identity.mail.letter import Letter
from bulkhead.capabilities.identity.model import Channel, UserId
from bulkhead.engine.connections.queries import load_queries
from bulkhead.engine.ids import new_id

if TYPE_CHECKING:
    from bulkhead.engine.connections.transaction import Transaction

QUERIES = load_queries(__package__)

KEEP_DAYS = 30
PAGE_MAX = 200


@dataclass(frozen=True, slots=True)
class ClaimedMail:
    """A mail that we try to hand over now; `attempt` tells us from whoever comes after us."""

    id: UUID
    attempt: int
    letter: Letter


@dataclass(frozen=True, slots=True)
class QueuedMail:
    """A mail as the inbox shows it."""

    id: UUID
    letter: Letter
    state: str
    attempts: int
    last_error: str | None
    created_at: dt.datetime


async def queue_mail(tx: Transaction, letter: Letter, user: UserId | None = None) -> UUID:
    """Have `letter` handed over once `tx` is committed, and never if it is not; returns its id.

    With `user`, only if there is such a user; takes as long when there is none.
    """
    mail = new_id()
    await tx.execute(
        QUERIES.queue_mail,
        mail,
        letter.recipient,
        letter.subject,
        letter.text,
        letter.html,
        user,
        letter.channel.value,
    )
    return mail


async def claim_mail(tx: Transaction, limit: int, lease_s: float) -> list[ClaimedMail]:
    """Take over at most `limit` mails that are due, for `lease_s` seconds."""
    rows = await tx.fetch(QUERIES.claim_mail, limit, lease_s)
    return [
        ClaimedMail(
            row["id"],
            row["attempts"],
            _parse_letter(row),
        )
        for row in rows
    ]


async def mark_sent(tx: Transaction, mail: ClaimedMail, *, forget: bool) -> None:
    """Note that a mail was handed over, and forget its secrets if asked to."""
    await tx.execute(QUERIES.mark_sent, mail.id, mail.attempt, forget)


async def postpone_mail(tx: Transaction, mail: ClaimedMail, pause_s: float, reason: str) -> None:
    """Have a mail tried again after `pause_s`."""
    await tx.execute(QUERIES.postpone_mail, mail.id, mail.attempt, pause_s, reason)


async def park_mail(tx: Transaction, mail: ClaimedMail, reason: str) -> None:
    """Give a mail up."""
    await tx.execute(QUERIES.park_mail, mail.id, mail.attempt, reason)


async def list_mail(
    tx: Transaction,
    recipient: str | None = None,
    limit: int = PAGE_MAX,
    channels: Iterable[Channel] = tuple(Channel),
) -> list[QueuedMail]:
    """The latest messages of `channels`, newest first, to `recipient` or to anybody."""
    wanted = [channel.value for channel in channels]
    rows = await tx.fetch(QUERIES.list_mail, recipient, min(limit, PAGE_MAX), wanted)
    return [
        QueuedMail(
            row["id"],
            _parse_letter(row),
            row["state"],
            row["attempts"],
            row["last_error"],
            row["created_at"],
        )
        for row in rows
    ]


async def count_mail(tx: Transaction) -> tuple[int, int]:
    """How many mails wait, and how many were given up."""
    row = await tx.fetchrow(QUERIES.count_mail)
    assert row is not None, "an aggregate without groups has a row"
    return row["queued"], row["parked"]


async def prune_mail(tx: Transaction) -> None:
    """Forget mails that are older than KEEP_DAYS and wait no longer."""
    await tx.execute(QUERIES.prune_mail, KEEP_DAYS)


def _parse_letter(row: Mapping[str, Any]) -> Letter:
    return Letter(
        row["recipient"],
        row["subject"],
        row["text_body"],
        row["html_body"],
        Channel(row["channel"]),
    )
