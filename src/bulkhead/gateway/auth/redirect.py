"""Where a link in a mail leads: to a page of the application, with what it needs to know."""

from collections.abc import Mapping
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from bulkhead.capabilities.identity.model import Tokens
from bulkhead.engine.errors import BulkheadError
from bulkhead.gateway.auth.wire import ErrorAnswer


def render_redirect(target: str, values: Mapping[str, str], *, in_query: bool = False) -> str:
    """The address that hands `values` to a page in the fragment, which no server gets to see.

    `in_query` hands them to its server, too, which waits for the end of a sign-in.
    """
    parts = urlsplit(target)
    query = _with(parts.query, values) if in_query else parts.query
    fragment = urlencode(dict(sorted({**values, "sb": ""}.items())))
    return urlunsplit((parts.scheme, parts.netloc, parts.path, query, fragment))


def render_code_redirect(target: str, code: str) -> str:
    """The address that hands the code of a sign-in to the client that began it."""
    parts = urlsplit(target)
    query = _with(parts.query, {"code": code})
    return urlunsplit((parts.scheme, parts.netloc, parts.path, query, parts.fragment))


def redirect_values(tokens: Tokens, type_: str) -> dict[str, str]:
    """What a page is handed after a link was followed."""
    return {
        "access_token": tokens.access_token,
        "expires_at": str(tokens.expires_at),
        "expires_in": str(tokens.expires_in),
        "refresh_token": tokens.refresh_token,
        "token_type": "bearer",
        "type": type_,
    }


def redirect_error_values(answer: ErrorAnswer) -> dict[str, str]:
    """What a page is told when a link was refused."""
    names = {400: "invalid_request", 401: "unauthorized_client"}
    failed = answer.status >= BulkheadError.status
    return {
        "error": "server_error" if failed else names.get(answer.status, "access_denied"),
        "error_code": answer.code,
        "error_description": answer.message,
    }


def _with(query: str, values: Mapping[str, str]) -> str:
    kept = [(k, v) for k, v in parse_qsl(query, keep_blank_values=True) if k not in values]
    return urlencode(sorted([*kept, *values.items()]))
