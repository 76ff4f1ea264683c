"""The local inbox: where mail can be read while no mail server is configured.

Whoever reads it can confirm addresses and set passwords, so it is shown to this machine only,
unless the operator opens it.
"""

from __future__ import annotations

import ipaddress
import re
from html import escape
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from bulkhead.capabilities.identity.mail.service import QueuedMail, list_mail
from bulkhead.capabilities.identity.model import render_instant
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.errors import Forbidden

if TYPE_CHECKING:
    from bulkhead.capabilities.identity.identity import Identity

_LINK = re.compile(r"https?://[^\s<>\"]+")
_FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")

STYLE = """
:root{color-scheme:light dark;--page:#f1f5f9;--card:#fff;--text:#0f172a;--soft:#64748b;
--line:#e2e8f0;--link:#1d4ed8}
@media(prefers-color-scheme:dark){:root{--page:#0b1120;--card:#111827;--text:#e2e8f0;--soft:#94a3b8;
--line:#1f2937;--link:#93c5fd}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--text);font:15px/1.55 system-ui,sans-serif}
main{max-width:760px;margin:0 auto;padding:40px 20px}
h1{margin:0 0 4px;font-size:26px}
.hint{margin:0 0 28px;color:var(--soft)}
article{margin:0 0 16px;padding:20px 24px;border:1px solid var(--line);border-radius:12px;
background:var(--card)}
h2{margin:0 0 2px;font-size:17px}
.meta{margin:0 0 14px;color:var(--soft);font-size:13px}
pre{margin:0;white-space:pre-wrap;overflow-wrap:anywhere;font:inherit}
a{color:var(--link)}
.empty{padding:48px 24px;text-align:center;color:var(--soft)}
"""


class InboxClosed(Forbidden):
    """The local inbox is shown on the machine of the server only."""

    code = "inbox_closed"
    hint = "Open it there, configure a mail server (BULKHEAD_SMTP_HOST), or open it on purpose."


def inbox_routes(identity: Identity) -> APIRouter:
    """`/inbox`: a page, or JSON for whoever accepts it; `?to=` picks a recipient.

    Nothing where mail and text messages are carried elsewhere.
    """
    router = APIRouter(tags=["inbox"])
    kept = identity.mailer.kept
    if not kept:
        return router

    async def show_inbox(request: Request) -> Response:
        """Show the mails that the application would have sent, newest first."""
        if not identity.settings.open_inbox and not is_local(request, identity.origin):
            return JSONResponse(InboxClosed().to_json(), InboxClosed.status)
        recipient = request.query_params.get("to")
        async with identity.users.transaction(SERVICE, read_only=True) as tx:
            wanted = recipient.strip(" +").lower() if recipient else None
            mails = await list_mail(tx, wanted, channels=kept)
        if "application/json" in request.headers.get("accept", ""):
            return JSONResponse({"mails": [to_json(mail) for mail in mails]}, headers=_headers())
        return HTMLResponse(render_inbox(identity.title, mails), headers=_headers())

    router.add_api_route("/inbox", show_inbox, methods=["GET"], response_class=Response)
    return router


def to_json(mail: QueuedMail) -> dict[str, Any]:
    """A mail as a value."""
    return {
        "id": str(mail.id),
        "channel": mail.letter.channel.value,
        "to": mail.letter.recipient,
        "subject": mail.letter.subject,
        "text": mail.letter.text,
        "html": mail.letter.html,
        "state": mail.state,
        "created_at": render_instant(mail.created_at),
    }


def render_inbox(title: str, mails: list[QueuedMail]) -> str:
    """Render the page."""
    letters = "".join(_render_mail(mail) for mail in mails)
    empty = '<article class="empty">No mail yet. Sign up, or ask for a new password.</article>'
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>Inbox of {escape(title)}</title><style>{STYLE}</style></head><body><main>"
        f"<h1>Inbox of {escape(title)}</h1>"
        '<p class="hint">No mail server is configured, so mail stays here, on this machine.</p>'
        f"{letters or empty}</main></body></html>"
    )


def is_local(request: Request, origin: str) -> bool:
    """Whether the request comes from a person on this machine.

    A proxy would speak for others, and a web site could have its own name resolve to us: neither
    counts.
    """
    peer = request.client.host if request.client else ""
    if any(name in request.headers for name in _FORWARDED):
        return False
    host = request.headers.get("host", "").lower()
    return _is_loopback(peer) and (_is_local_name(host) or origin.endswith(f"://{host}"))


def _render_mail(mail: QueuedMail) -> str:
    letter = mail.letter
    return (
        f"<article><h2>{escape(letter.subject or 'Text message')}</h2>"
        f'<p class="meta">To {escape(letter.recipient)} &middot; '
        f'<time datetime="{render_instant(mail.created_at)}">'
        f"{mail.created_at:%Y-%m-%d %H:%M:%S} UTC</time></p>"
        f"<pre>{_link(letter.text)}</pre></article>"
    )


def _link(text: str) -> str:
    parts: list[str] = []
    position = 0
    for match in _LINK.finditer(text):
        parts.append(escape(text[position : match.start()]))
        url = escape(match[0])
        parts.append(f'<a href="{url}" rel="noreferrer">{url}</a>')
        position = match.end()
    return "".join(parts) + escape(text[position:])


def _headers() -> dict[str, str]:
    return {
        "cache-control": "no-store",
        "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        "referrer-policy": "no-referrer",
        "x-content-type-options": "nosniff",
    }


def _is_loopback(text: str) -> bool:
    try:
        address = ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def _is_local_name(host: str) -> bool:
    """Whether a host is a loopback address, or a name that no stranger can own."""
    name = host if host.endswith("]") else host.rpartition(":")[0] or host
    return _is_loopback(name) or "." not in name or name.endswith(".localhost")
