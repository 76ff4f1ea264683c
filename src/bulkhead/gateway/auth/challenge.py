"""What a client that begins a sign-in will prove to know at its end.

Source: RFC 7636, section 4.2; the words are those of Supabase's Auth server.
"""

import re

from bulkhead.capabilities.identity.model import Challenge
from bulkhead.gateway.auth.body import Body
from bulkhead.gateway.auth.errors import RequestInvalid

LENGTH_MIN = 43
LENGTH_MAX = 128
METHODS = ("s256", "plain")
_CHALLENGE = re.compile(r"[a-zA-Z0-9._~-]+")


def read_challenge(body: Body) -> Challenge | None:
    """The challenge of a request, None without one; raises RequestInvalid."""
    text, method = body.text("code_challenge"), body.text("code_challenge_method").lower()
    if not text and not method:
        return None
    if not text or not method:
        raise RequestInvalid(reason="PKCE flow requires code_challenge_method and code_challenge")
    if not LENGTH_MIN <= len(text) <= LENGTH_MAX:
        raise RequestInvalid(
            reason=f"code challenge has to be between {LENGTH_MIN} and {LENGTH_MAX} characters"
        )
    if _CHALLENGE.fullmatch(text) is None:
        raise RequestInvalid(
            reason="code challenge can only contain alphanumeric characters, hyphens, periods, "
            "underscores and tildes"
        )
    if method not in METHODS:
        raise RequestInvalid(reason="code challenge method not supported")
    return Challenge(text, method)
