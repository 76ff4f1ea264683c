"""Send the messages of an identity: issue a code and queue the letter that tells it.

For a user who does not exist the same statements run and change nothing, so that whoever asks for
a message cannot tell from the time it takes whether there is an account.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from bulkhead.capabilities.identity.codes.service import issue_code
from bulkhead.capabilities.identity.mail.letter import (
    Permission,
    render_account_exists,
    render_confirmation,
    render_email_change,
    render_invitation,
    render_magic_link,
    render_reauthentication,
    render_recovery,
    render_text_message,
)
from bulkhead.capabilities.identity.model import Channel, CodeKind, UserId, UserRow
from bulkhead.capabilities.identity.redirects import choose_redirect
from bulkhead.capabilities.identity.users.service import QUERIES as USERS

if TYPE_CHECKING:
    from bulkhead.capabilities.identity.identity import Identity
    from bulkhead.engine.connections.transaction import Transaction

TEST_MESSAGE = "test-otp"
"""The id of a message that is not sent, because its number is one for tests."""


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a link leads, and the sign-in that its click goes on with."""

    redirect_to: str | None = None
    """Not checked yet."""
    flow_id: UUID | None = None


async def send_confirmation(
    tx: Transaction, identity: Identity, user: UserId, email: str, destination: Destination
) -> None:
    """Have a new user confirm the address."""
    permission = await _permit(
        tx, identity, user, (CodeKind.CONFIRMATION, "signup"), email, destination
    )
    await tx.execute(USERS.note_confirmation_sent, user)
    await identity.mailer.queue(tx, render_confirmation(permission), user)


async def send_invitation(
    tx: Transaction, identity: Identity, user: UserId, email: str, destination: Destination
) -> None:
    """Have somebody become the user who was made for them."""
    permission = await _permit(
        tx, identity, user, (CodeKind.CONFIRMATION, "invite"), email, destination
    )
    await tx.execute(USERS.note_confirmation_sent, user)
    await identity.mailer.queue(tx, render_invitation(permission), user)


async def send_recovery(
    tx: Transaction, identity: Identity, user: UserId, email: str, destination: Destination
) -> None:
    """Let a user set a new password."""
    permission = await _permit(
        tx, identity, user, (CodeKind.RECOVERY, "recovery"), email, destination
    )
    await tx.execute(USERS.note_recovery_sent, user)
    await identity.mailer.queue(tx, render_recovery(permission), user)


async def send_magic_link(
    tx: Transaction, identity: Identity, user: UserId, email: str, destination: Destination
) -> None:
    """Let a user sign in without a password."""
    permission = await _permit(
        tx, identity, user, (CodeKind.RECOVERY, "magiclink"), email, destination
    )
    await tx.execute(USERS.note_recovery_sent, user)
    await identity.mailer.queue(tx, render_magic_link(permission), user)


async def send_email_change(
    tx: Transaction, identity: Identity, user: UserRow, new_email: str, destination: Destination
) -> None:
    """Have the new address, and where it has a say the present one, agree to a change."""
    await tx.execute(USERS.begin_email_change, user.id, new_email)
    kinds = {CodeKind.EMAIL_CHANGE_NEW: new_email}
    if needs_both(identity, user):
        kinds[CodeKind.EMAIL_CHANGE_CURRENT] = user.email
    for kind, address in kinds.items():
        permission = await _permit(
            tx, identity, user.id, (kind, "email_change"), address, destination
        )
        await identity.mailer.queue(tx, render_email_change(permission, new_email))


async def send_reauthentication(tx: Transaction, identity: Identity, user: UserRow) -> None:
    """Tell a user who is signed in the code that a change of password needs."""
    code = await issue_code(tx, user.id, CodeKind.REAUTHENTICATION, user.email)
    await tx.execute(USERS.note_reauthentication_sent, user.id)
    letter = render_reauthentication(
        identity.title, user.email, code.digits, identity.settings.code_ttl_s
    )
    await identity.mailer.queue(tx, letter, user.id)


async def send_text_message(
    tx: Transaction,
    identity: Identity,
    user: UserId,
    phone: str,
    kind: CodeKind,
    channel: Channel,
) -> str:
    """Tell the code of `kind` in a text message; returns the id of the message."""
    digits = identity.settings.phone_test_codes.get(phone)
    code = await issue_code(tx, user, kind, phone, digits=digits)
    match kind:
        case CodeKind.PHONE_CHANGE:
            await tx.execute(USERS.begin_phone_change, user, phone)
        case CodeKind.REAUTHENTICATION:
            await tx.execute(USERS.note_reauthentication_sent, user)
        case _:
            await tx.execute(USERS.note_confirmation_sent, user)
    if digits is not None:
        return TEST_MESSAGE
    letter = render_text_message(
        identity.title, phone, code.digits, identity.settings.sms_code_ttl_s, channel
    )
    return str(await identity.mailer.queue(tx, letter, user))


async def send_account_exists(tx: Transaction, identity: Identity, email: str) -> None:
    """Tell a user that somebody signed up with their address."""
    letter = render_account_exists(identity.title, email, identity.site_url)
    await identity.mailer.queue(tx, letter)


def needs_both(identity: Identity, user: UserRow) -> bool:
    """Whether the present address has to agree to another one."""
    return bool(user.email) and identity.settings.email_change_by_both and not identity.autoconfirm


async def _permit(
    tx: Transaction,
    identity: Identity,
    user: UserId,
    kind: tuple[CodeKind, str],
    address: str,
    destination: Destination,
) -> Permission:
    """A code for `user` in a link; `kind` is what it is good for and the `type` of the link."""
    code = await issue_code(tx, user, kind[0], address, flow_id=destination.flow_id)
    return Permission(
        application=identity.title,
        recipient=address,
        issuer=identity.issuer,
        type=kind[1],
        secret=code.secret,
        digits=code.digits,
        redirect_to=choose_redirect(
            destination.redirect_to, identity.site_url, identity.settings.redirect_urls
        ),
        ttl_s=identity.settings.code_ttl_s,
    )
