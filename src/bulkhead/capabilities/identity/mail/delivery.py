"""Hand over the mail that is due.

Claim and lease, hand over without a transaction, note the outcome. A worker that dies in between
leaves the mail to the next one once the lease has run out, and one that is stopped at once, so that
a mail may arrive twice, with the same Message-ID, but is never lost.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from uuid import UUID

from bulkhead.capabilities.identity.mail.carrier import (
    TOTAL_TIMEOUT_S,
    Carrier,
    MailDelayed,
    MailRefused,
)
from bulkhead.capabilities.identity.mail.letter import Letter
from bulkhead.capabilities.identity.mail.service import (
    ClaimedMail,
    claim_mail,
    mark_sent,
    park_mail,
    postpone_mail,
    queue_mail,
)
from bulkhead.capabilities.identity.model import Channel, UserId
from bulkhead.engine import failpoints
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.errors import BulkheadError
from bulkhead.engine.ongoing import claimed, is_being_cancelled

if TYPE_CHECKING:
    from bulkhead.engine.connections.database import OpenDatabase
    from bulkhead.engine.connections.transaction import Transaction

log = logging.getLogger(__name__)

BATCH = 5
"""Handed over at the same time, so that all of them end before the lease does."""
LEASE_S = 2 * TOTAL_TIMEOUT_S
ATTEMPTS_MAX = 10
PAUSE_S = 15.0
PAUSE_S_MAX = 3600.0
POLL_S = 5.0

CARRIED = failpoints.register("identity.mail:carried")


@dataclass(slots=True, eq=False)
class Mailer:
    """The queue of one database and who carries its mail and its text messages away."""

    database: OpenDatabase
    carrier: Carrier
    messenger: Carrier | None = None
    """None where no text messages are sent."""
    _queued: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def kept(self) -> tuple[Channel, ...]:
        """What stays readable in the queue, which then is the inbox."""
        texts = (Channel.SMS, Channel.WHATSAPP)
        return (
            *((Channel.EMAIL,) if self.carrier.keeps_mail else ()),
            *(texts if self.messenger is not None and self.messenger.keeps_mail else ()),
        )

    async def queue(self, tx: Transaction, letter: Letter, user: UserId | None = None) -> UUID:
        """Have `letter` handed over once `tx` is committed; as `queue_mail`."""
        mail = await queue_mail(tx, letter, user)
        tx.after_commit(self._queued.set)
        return mail

    async def deliver_due(self) -> int:
        """Make one attempt at each of a few mails that are due; returns how many they were."""
        mails = await claimed(self._claim(), self._leave)
        left = {mail.id: mail for mail in mails}

        async def deliver(mail: ClaimedMail) -> None:
            await self._deliver(mail)
            del left[mail.id]

        try:
            async with asyncio.TaskGroup() as tasks:
                for mail in mails:
                    tasks.create_task(deliver(mail))
        except asyncio.CancelledError:
            await self._leave(left.values())
            raise
        return len(mails)

    async def run(self) -> None:
        """Hand mail over until cancelled: at once what this process queues, the rest by polling."""
        while not is_being_cancelled():  # Whatever went wrong when it was.
            self._queued.clear()
            try:
                while await self.deliver_due():
                    pass
            except BulkheadError as error:
                log.warning("mail is waiting: %s", error)
            except ExceptionGroup:
                log.exception("mail is waiting")
            try:
                async with asyncio.timeout(POLL_S):
                    await self._queued.wait()
            except TimeoutError:
                pass

    async def _claim(self) -> list[ClaimedMail]:
        async with self.database.transaction(SERVICE) as tx:
            return await claim_mail(tx, BATCH, LEASE_S)

    async def _leave(self, mails: Iterable[ClaimedMail]) -> None:
        """Leave mails to the next process at once: somebody may wait for the code in one."""
        with suppress(BulkheadError):
            async with self.database.transaction(SERVICE) as tx:
                for mail in mails:
                    await postpone_mail(tx, mail, 0.0, "it was interrupted")

    async def _deliver(self, mail: ClaimedMail) -> None:
        is_mail = mail.letter.channel is Channel.EMAIL
        carrier = self.carrier if is_mail else self.messenger
        if carrier is None:
            await self._give_up(mail, MailRefused(reason="text messages are not sent here"))
            return
        try:
            await carrier.carry(mail.id, mail.letter)
        except MailRefused as error:
            await self._give_up(mail, error)
        except MailDelayed as error:
            if mail.attempt >= ATTEMPTS_MAX:
                await self._give_up(mail, error)
            else:
                async with self.database.transaction(SERVICE) as tx:
                    await postpone_mail(tx, mail, pause_s(mail.attempt), error.message)
        else:
            await failpoints.reach(CARRIED)
            async with self.database.transaction(SERVICE) as tx:
                await mark_sent(tx, mail, forget=mail.letter.channel not in self.kept)

    async def _give_up(self, mail: ClaimedMail, error: BulkheadError) -> None:
        log.error("mail %s is parked: %s", mail.id, error)
        async with self.database.transaction(SERVICE) as tx:
            await park_mail(tx, mail, error.message)


def pause_s(attempt: int) -> float:
    """How long to wait after the attempt with this number: 15 s, 30 s, ... one hour at most."""
    return min(PAUSE_S * 2.0 ** (attempt - 1), PAUSE_S_MAX)
