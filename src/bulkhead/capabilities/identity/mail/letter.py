"""What the messages say; pure. Every mail has a text part and an HTML part that say the same."""

from dataclasses import dataclass, field
from html import escape
from urllib.parse import urlencode

from bulkhead.capabilities.identity.model import Channel


@dataclass(frozen=True, slots=True)
class Letter:
    """A mail to one recipient, or a text message, which has neither subject nor HTML."""

    recipient: str
    subject: str
    text: str = field(repr=False)
    html: str = field(repr=False)
    channel: Channel = Channel.EMAIL


@dataclass(frozen=True, slots=True)
class Permission:
    """What a mail with a code lets its reader do."""

    application: str
    recipient: str
    issuer: str
    type: str
    """The `type` of `/verify`: signup, invite, recovery, magiclink, email_change."""
    secret: str = field(repr=False)
    digits: str = field(repr=False)
    redirect_to: str
    ttl_s: float

    @property
    def link(self) -> str:
        """Where a click leads."""
        query = {"token": self.secret, "type": self.type, "redirect_to": self.redirect_to}
        return f"{self.issuer}/verify?{urlencode(query)}"


def render_confirmation(permission: Permission) -> Letter:
    """Ask a new user to confirm the address."""
    return _render_permission(
        permission,
        subject="Confirm your e-mail address",
        opening=f"Somebody, probably you, has signed up at {permission.application} with this "
        "e-mail address. Confirm it to sign in:",
        action="Confirm e-mail address",
    )


def render_recovery(permission: Permission) -> Letter:
    """Let a user set a new password."""
    return _render_permission(
        permission,
        subject="Reset your password",
        opening=f"Somebody, probably you, wants to set a new password at {permission.application}:",
        action="Set a new password",
    )


def render_magic_link(permission: Permission) -> Letter:
    """Let a user sign in without a password."""
    return _render_permission(
        permission,
        subject="Sign in",
        opening=f"Somebody, probably you, wants to sign in at {permission.application}:",
        action="Sign in",
    )


def render_invitation(permission: Permission) -> Letter:
    """Invite somebody to become a user."""
    return _render_permission(
        permission,
        subject="You are invited",
        opening=f"You have been invited to {permission.application}. Accept to create your "
        "account:",
        action="Accept the invitation",
    )


def render_reauthentication(application: str, recipient: str, digits: str, ttl_s: float) -> Letter:
    """Tell a user who is signed in the code that a change of password needs."""
    return _render(
        recipient,
        f"Your code at {application}",
        f"Enter this code to change your password at {application}.",
        None,
        f"The code works once, for {round(ttl_s / 60)} minutes. If it was not you, sign out "
        "everywhere: somebody else uses your account.",
        code=digits,
    )


def render_text_message(
    application: str, recipient: str, digits: str, ttl_s: float, channel: Channel
) -> Letter:
    """Tell the code in a text message."""
    minutes = max(1, round(ttl_s / 60))
    text = (
        f"Your code at {' '.join(application.split())} is {digits}. It works once, for {minutes} "
        f"minute{'s' if minutes > 1 else ''}."
    )
    return Letter(recipient, "", text, "", channel)


def render_email_change(permission: Permission, new_email: str) -> Letter:
    """Ask the old and the new address of a user whether the change is right."""
    return _render_permission(
        permission,
        subject="Confirm the change of your e-mail address",
        opening=f"The e-mail address of your account at {permission.application} shall become "
        f"{new_email}:",
        action="Confirm the change",
    )


def render_account_exists(application: str, recipient: str, site_url: str) -> Letter:
    """Tell a user that somebody signed up with an address that has an account."""
    return _render(
        recipient,
        "You already have an account",
        f"Somebody, probably you, has tried to sign up at {application} with this e-mail address, "
        "which has an account already. Sign in with your password, or set a new one:",
        ("Sign in", site_url),
        "If it was not you, there is nothing to do: nothing has changed.",
    )


def _render_permission(
    permission: Permission, *, subject: str, opening: str, action: str
) -> Letter:
    minutes = round(permission.ttl_s / 60)
    return _render(
        permission.recipient,
        f"{subject} at {permission.application}",
        opening,
        (action, permission.link),
        f"The link and the code work once, for {minutes} minutes. "
        "If it was not you, there is nothing to do: nothing will change.",
        code=permission.digits,
    )


def _render(
    recipient: str,
    subject: str,
    opening: str,
    action: tuple[str, str] | None,
    closing: str,
    *,
    code: str | None = None,
) -> Letter:
    """Render a mail; `action` is what a link is called and where it leads."""
    subject = " ".join(subject.split())
    name, link = action or ("", "")
    label = "Or enter this code:" if link else "The code:"
    told = f"{label} {code}" if code else ""
    text = "\n\n".join(part for part in (opening, link, told, closing) if part) + "\n"
    body = f'<p style="margin:0 0 16px">{escape(opening)}</p>'
    if link:
        body += (
            f'<p style="margin:0 0 16px"><a href="{escape(link)}" style="display:inline-block;'
            "padding:10px 18px;border-radius:6px;background:#1d4ed8;color:#ffffff;"
            f'text-decoration:none;font-weight:600">{escape(name)}</a></p>'
        )
    if code:
        body += (
            f'<p style="margin:0 0 16px">{label} '
            f'<strong style="font-size:20px;letter-spacing:3px">{escape(code)}</strong></p>'
        )
    body += f'<p style="margin:0;color:#64748b;font-size:13px">{escape(closing)}</p>'
    return Letter(recipient, subject, text, _page(subject, body))


def _page(title: str, body: str) -> str:
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '</head><body style="margin:0;padding:24px;background:#f1f5f9;color:#0f172a;'
        'font:15px/1.5 system-ui,sans-serif"><div style="max-width:480px;margin:0 auto;'
        'padding:28px;border-radius:10px;background:#ffffff">'
        f"{body}</div></body></html>"
    )
