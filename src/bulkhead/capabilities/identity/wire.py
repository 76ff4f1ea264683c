"""The language of Supabase's Auth clients: request bodies, and errors in both API versions.

Source: the behaviour of Supabase's Auth server; clients read `code`, `message`, `weak_password`
and the header `x-sb-error-code`.
"""

import datetime as dt
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any
from urllib.parse import urlencode, urlsplit, urlunsplit

from bulkhead.capabilities.identity.errors import (
    CodeInvalid,
    EmailInvalid,
    EmailNotConfirmed,
    EmailTaken,
    InvalidCredentials,
    MailRateLimited,
    PasswordsOverloaded,
    PasswordTooLong,
    PasswordUnchanged,
    PasswordWeak,
    RateLimited,
    RefreshTokenNotFound,
    RefreshTokenReused,
    SessionExpired,
    SessionNotFound,
    SignUpDisabled,
    TokenInvalid,
    UserBanned,
    UserExists,
    UserNotFound,
)
from bulkhead.capabilities.identity.model import Tokens
from bulkhead.engine.errors import BulkheadError, Forbidden, Invalid, Unauthenticated

API_VERSION_HEADER = "x-supabase-api-version"
API_VERSION = "2024-01-01"
BODY_BYTES_MAX = 65_536
DEPTH_MAX = 32


class BodyInvalid(Invalid):
    """The body of the request cannot be read: {reason}."""

    code = "bad_json"
    status = 400


class RequestInvalid(Invalid):
    """{reason}."""

    code = "validation_failed"
    status = 400


class GrantUnsupported(RequestInvalid):
    """There is no such grant type."""

    code = "unsupported_grant_type"


class AdminOnly(Forbidden):
    """Only the application may change this."""

    code = "not_admin"


@dataclass(frozen=True, slots=True)
class Wording:
    """How clients know an error; None stands for what the error itself says."""

    text: str | None = None
    code: str | None = None
    status: int | None = None


WORDINGS: Mapping[type[BulkheadError], Wording] = MappingProxyType(
    {
        AdminOnly: Wording("Updating app_metadata requires admin privileges"),
        BodyInvalid: Wording("Could not parse request body as JSON"),
        CodeInvalid: Wording("Token has expired or is invalid"),
        EmailInvalid: Wording(code="validation_failed"),
        EmailNotConfirmed: Wording("Email not confirmed"),
        EmailTaken: Wording("A user with this email address has already been registered"),
        GrantUnsupported: Wording("unsupported_grant_type", code="invalid_credentials"),
        Invalid: Wording(code="validation_failed"),
        InvalidCredentials: Wording("Invalid login credentials"),
        MailRateLimited: Wording(
            "For security purposes, you can only request this after {retry_after_s} seconds."
        ),
        PasswordTooLong: Wording(
            "Password cannot be longer than 72 characters", code="validation_failed"
        ),
        PasswordUnchanged: Wording("New password should be different from the old password."),
        PasswordWeak: Wording("{reason}"),
        PasswordsOverloaded: Wording(code="request_timeout"),
        RateLimited: Wording("Request rate limit reached"),
        RefreshTokenNotFound: Wording("Invalid Refresh Token: Refresh Token Not Found"),
        RefreshTokenReused: Wording("Invalid Refresh Token: Already Used"),
        RequestInvalid: Wording("{reason}"),
        SessionExpired: Wording("Invalid Refresh Token: Session Expired"),
        SessionNotFound: Wording("Session from session_id claim in JWT does not exist", status=403),
        SignUpDisabled: Wording("Signups not allowed for this instance"),
        TokenInvalid: Wording("invalid JWT: {reason}", status=403),
        Unauthenticated: Wording(
            "This endpoint requires a valid Bearer token", code="no_authorization"
        ),
        UserBanned: Wording("User is banned"),
        UserExists: Wording("User already registered"),
        UserNotFound: Wording("User from sub claim in JWT does not exist", status=403),
    }
)
_REFUSALS = frozenset({401, 403, 404})
_FAILURE = Wording("Unexpected failure, please check server logs for more information")


@dataclass(frozen=True, slots=True)
class ErrorAnswer:
    """An error as clients get it."""

    status: int
    code: str
    message: str
    headers: Mapping[str, str]
    body: Mapping[str, Any]


def render_error(
    error: BulkheadError, api_version: str | None, *, grant: bool = False
) -> ErrorAnswer:
    """Render an error for a client that asks for `api_version`.

    A refused `grant` is a bad request, whatever it was refused for (RFC 6749, section 5.2).
    """
    wording = _wording(error)
    failed = error.status >= BulkheadError.status and wording == Wording()
    status = wording.status or error.status
    if grant and status in _REFUSALS:
        status = BodyInvalid.status
    code = "unexpected_failure" if failed else wording.code or error.code
    text = _FAILURE.text if failed else wording.text
    message = text.format_map(error.details) if text is not None else error.message
    headers = {"x-sb-error-code": code}
    versioned = is_versioned(api_version)
    if versioned:
        headers[API_VERSION_HEADER] = API_VERSION
    if status == Unauthenticated.status:
        headers["www-authenticate"] = "Bearer"
    retry_after = error.details.get("retry_after_s", error.retry_after_s)
    if retry_after is not None:
        headers["retry-after"] = str(retry_after)
    body: dict[str, Any] = (
        {"code": code, "message": message}
        if versioned
        else {"code": status, "error_code": code, "msg": message}
    )
    if isinstance(error, PasswordWeak):
        body["weak_password"] = {"reasons": error.details["reasons"]}
    return ErrorAnswer(status, code, message, headers, body)


def is_versioned(api_version: str | None) -> bool:
    """Whether a client speaks the API of 2024-01-01 or a later one."""
    try:
        return dt.date.fromisoformat(api_version or "") >= dt.date.fromisoformat(API_VERSION)
    except ValueError:
        return False


def render_redirect(target: str, values: Mapping[str, str]) -> str:
    """The address that hands `values` to a page in the fragment, which no server gets to see."""
    parts = urlsplit(target)
    fragment = urlencode(dict(sorted({**values, "sb": ""}.items())))
    return urlunsplit((parts.scheme, parts.netloc, parts.path, parts.query, fragment))


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


@dataclass(frozen=True, slots=True)
class Body:
    """The JSON object of a request."""

    values: Mapping[str, Any]

    def text(self, name: str, default: str = "") -> str:
        """A string; raises BodyInvalid for anything else."""
        value = self.values.get(name)
        if value is None:
            return default
        if not isinstance(value, str):
            raise BodyInvalid(reason=f"{name} must be a string")
        return value

    def optional(self, name: str) -> str | None:
        """A string, None where there is none or an empty one."""
        return self.text(name) or None

    def mapping(self, name: str) -> Mapping[str, Any] | None:
        """An object, or None; raises BodyInvalid for anything else."""
        value = self.values.get(name)
        if value is not None and not isinstance(value, dict):
            raise BodyInvalid(reason=f"{name} must be an object")
        return value


def parse_body(raw: bytes) -> Body:
    """Read a JSON object strictly; raises BodyInvalid.

    Refuses what readers disagree about or PostgreSQL cannot hold: names given twice, NaN and
    infinities, NUL characters, lone surrogates, and nesting deeper than DEPTH_MAX.
    """
    if not raw.strip():
        return Body({})
    try:
        value = json.loads(
            raw.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_constant=_refuse_constant,
            parse_float=_finite,
        )
        _check(value, DEPTH_MAX)
    except (ValueError, RecursionError) as error:
        raise BodyInvalid(reason=str(error) or "it is nested too deeply") from None
    if not isinstance(value, dict):
        raise BodyInvalid(reason="it must be an object")
    return Body(value)


def _wording(error: BulkheadError) -> Wording:
    for kind in type(error).__mro__:
        if kind in WORDINGS:
            return WORDINGS[kind]
    return Wording()


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        message = "a name is there twice"
        raise ValueError(message)
    return values


def _refuse_constant(name: str) -> float:
    message = f"{name} is not JSON"
    raise ValueError(message)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        message = "a number is too large"
        raise ValueError(message)
    return value


def _check(value: object, depth: int) -> None:
    if depth < 0:
        message = "it is nested too deeply"
        raise ValueError(message)
    match value:
        case str():
            value.encode("utf-8")
            if "\0" in value:
                message = "text must not contain a NUL character"
                raise ValueError(message)
        case dict():
            for name, item in value.items():
                _check(name, depth - 1)
                _check(item, depth - 1)
        case list():
            for item in value:
                _check(item, depth - 1)
