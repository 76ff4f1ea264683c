"""Send the mails of an identity: issue a code and queue the letter that tells it.

For a user who does not exist the same statements run and change nothing, so that whoever asks for
a mail cannot tell from the time it takes whether there is an account.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bulkhead.capabilities.identity.codes.service import issue_code
from bulkhead.capabilities.identity.mail.letter import (
    Permission,
    render_account_exists,
    render_confirmation,
    render_email_change,
    render_recovery,
)
from bulkhead.capabilities.identity.model import CodeKind, UserId, UserRow
from bulkhead.capabilities.identity.redirects import choose_redirect
from bulkhead.capabilities.identity.users.service import QUERIES as USERS

if TYPE_CHECKING:
    from bulkhead.capabilities.identity.identity import Identity
    from bulkhead.engine.connections.transaction import Transaction

LINK_TYPES = {
    CodeKind.CONFIRMATION: "signup",
    CodeKind.RECOVERY: "recovery",
    CodeKind.EMAIL_CHANGE_CURRENT: "email_change",
    CodeKind.EMAIL_CHANGE_NEW: "email_change",
}


async def send_confirmation(
    tx: Transaction, identity: Identity, user: UserId, email: str, redirect_to: str | None
) -> None:
    """Have a new user confirm the address."""
    permission = await _permit(tx, identity, user, CodeKind.CONFIRMATION, email, redirect_to)
    await tx.execute(USERS.note_confirmation_sent, user)
    await identity.mailer.queue(tx, render_confirmation(permission), user)


async def send_recovery(
    tx: Transaction, identity: Identity, user: UserId, email: str, redirect_to: str | None
) -> None:
    """Let a user set a new password."""
    permission = await _permit(tx, identity, user, CodeKind.RECOVERY, email, redirect_to)
    await tx.execute(USERS.note_recovery_sent, user)
    await identity.mailer.queue(tx, render_recovery(permission), user)


async def send_email_change(
    tx: Transaction, identity: Identity, user: UserRow, new_email: str, redirect_to: str | None
) -> None:
    """Have the new address, and unless `autoconfirm` is on the present one, agree to a change."""
    await tx.execute(USERS.begin_email_change, user.id, new_email)
    kinds = {CodeKind.EMAIL_CHANGE_NEW: new_email}
    if user.email and not identity.autoconfirm:
        kinds[CodeKind.EMAIL_CHANGE_CURRENT] = user.email
    for kind, address in kinds.items():
        permission = await _permit(tx, identity, user.id, kind, address, redirect_to)
        await identity.mailer.queue(tx, render_email_change(permission, new_email))


async def send_account_exists(tx: Transaction, identity: Identity, email: str) -> None:
    """Tell a user that somebody signed up with their address."""
    letter = render_account_exists(identity.title, email, identity.site_url)
    await identity.mailer.queue(tx, letter)


async def _permit(
    tx: Transaction,
    identity: Identity,
    user: UserId,
    kind: CodeKind,
    address: str,
    redirect_to: str | None,
) -> Permission:
    code = await issue_code(tx, user, kind, address)
    return Permission(
        application=identity.title,
        recipient=address,
        issuer=identity.issuer,
        type=LINK_TYPES[kind],
        secret=code.secret,
        digits=code.digits,
        redirect_to=choose_redirect(
            redirect_to, identity.site_url, identity.settings.redirect_urls
        ),
        ttl_s=identity.settings.code_ttl_s,
    )
