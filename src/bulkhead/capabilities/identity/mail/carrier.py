"""Who carries mail away: an SMTP server, or nobody, so that it stays in the local inbox."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from email.utils import format_datetime, parseaddr
from typing import Protocol
from uuid import UUID

import aiosmtplib

from bulkhead.capabilities.identity.mail.letter import Letter
from bulkhead.engine.authorities import client_context
from bulkhead.engine.clock import now
from bulkhead.engine.errors import BulkheadError, Unavailable
from bulkhead.engine.settings import Smtp

STEP_TIMEOUT_S = 15.0
TOTAL_TIMEOUT_S = 60.0
_PERMANENT = range(500, 600)


class MailRefused(BulkheadError):
    """The mail server refuses this mail for good: {reason}."""

    code = "mail_refused"
    status = 502
    hint = "Check the sender, the recipient and the login of the mail server: BULKHEAD_SMTP_*."


class MailDelayed(Unavailable):
    """The mail server could not take the mail: {reason}."""

    code = "mail_delayed"
    retry_after_s = 60


class Carrier(Protocol):
    """Where messages go once the transaction that caused them is committed.

    One that carries text messages is given letters without subject, to a number in digits; the
    letter's `channel` says whether by SMS or WhatsApp.
    """

    @property
    def keeps_mail(self) -> bool:
        """Whether mail stays readable in the queue: then the queue is the inbox."""

    async def carry(self, mail_id: UUID, letter: Letter) -> None:
        """Hand a mail over; raises MailRefused when it never can be, MailDelayed when not now."""


@dataclass(frozen=True, slots=True)
class LocalInbox:
    """Leaves mail where it is, for the page of the local inbox."""

    keeps_mail: bool = True

    async def carry(self, mail_id: UUID, letter: Letter) -> None:
        """Do nothing: the mail is in the inbox already."""


@dataclass(frozen=True, slots=True)
class SmtpCarrier:
    """Hands mail to an SMTP server."""

    smtp: Smtp
    step_timeout_s: float = STEP_TIMEOUT_S
    total_timeout_s: float = TOTAL_TIMEOUT_S
    keeps_mail: bool = False

    async def carry(self, mail_id: UUID, letter: Letter) -> None:
        """Hand the mail over in a connection of its own, within `total_timeout_s`."""
        server = aiosmtplib.SMTP(
            hostname=self.smtp.host,
            port=self.smtp.port,
            username=self.smtp.username,
            password=self.smtp.password,
            start_tls=self.smtp.starttls,
            tls_context=client_context() if self.smtp.starttls else None,
            timeout=self.step_timeout_s,
        )
        try:
            async with asyncio.timeout(self.total_timeout_s):
                await server.connect()
                await server.send_message(
                    render_message(mail_id, letter, self.smtp.sender),
                    sender=parseaddr(self.smtp.sender)[1],
                    recipients=[letter.recipient],
                )
        except aiosmtplib.SMTPResponseException as error:
            if error.code in _PERMANENT:
                raise MailRefused(reason=_reason(error.code, error.message)) from None
            raise MailDelayed(what="Mail", reason=_reason(error.code, error.message)) from None
        except aiosmtplib.SMTPRecipientsRefused as error:
            first = error.recipients[0]
            if first.code in _PERMANENT:
                raise MailRefused(reason=_reason(first.code, first.message)) from None
            raise MailDelayed(what="Mail", reason=_reason(first.code, first.message)) from None
        except (aiosmtplib.SMTPException, OSError, TimeoutError) as error:
            raise MailDelayed(what="Mail", reason=type(error).__name__) from None
        finally:
            # Without QUIT, because a server that hangs would not answer that either.
            server.close()


def carrier_for(smtp: Smtp | None) -> Carrier:
    """The SMTP server where one is configured, else the local inbox."""
    return LocalInbox() if smtp is None else SmtpCarrier(smtp)


def render_message(mail_id: UUID, letter: Letter, sender: str) -> EmailMessage:
    """Render a mail with a text and an HTML part.

    The Message-ID follows from `mail_id`, so that a mail that was handed over twice after a crash
    can be told from two mails.
    """
    message = EmailMessage(policy=SMTP_POLICY)
    message["From"] = sender
    message["To"] = letter.recipient
    message["Subject"] = letter.subject
    message["Date"] = format_datetime(now())
    domain = parseaddr(sender)[1].rpartition("@")[2] or "localhost"
    message["Message-ID"] = f"<{mail_id}@{domain}>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(letter.text)
    message.add_alternative(letter.html, subtype="html")
    return message


def _reason(code: int, message: str) -> str:
    return f"{code} {' '.join(message.split())}"[:200]
