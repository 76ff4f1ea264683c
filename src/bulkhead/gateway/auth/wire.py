"""Errors in the words of Supabase's Auth, in both versions of its API.

Source: the behaviour of Supabase's Auth server; clients read `code`, `message`, `weak_password`
and the header `x-sb-error-code`.
"""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from bulkhead.capabilities.identity.errors import (
    AnonymousDisabled,
    CodeInvalid,
    CodeSignUpDisabled,
    CurrentPasswordNeeded,
    CurrentPasswordWrong,
    EmailDisabled,
    EmailInvalid,
    EmailNotConfirmed,
    EmailTaken,
    FlowExpired,
    FlowNotFound,
    HookInvalid,
    HookRefused,
    IdentityInUse,
    IdentityNotFound,
    InvalidCredentials,
    LastIdentity,
    LinkingDisabled,
    MailRateLimited,
    PasswordsOverloaded,
    PasswordTooLong,
    PasswordUnchanged,
    PasswordWeak,
    PhoneDisabled,
    PhoneInvalid,
    PhoneNotConfirmed,
    PhoneTaken,
    RateLimited,
    ReauthenticationInvalid,
    ReauthenticationNeeded,
    RefreshTokenNotFound,
    RefreshTokenReused,
    SessionExpired,
    SessionNotFound,
    SignUpDisabled,
    SmsRateLimited,
    TokenInvalid,
    UserBanned,
    UserExists,
    UserNotFound,
    VerifierWrong,
)
from bulkhead.engine.errors import BulkheadError, Invalid, Unauthenticated
from bulkhead.gateway.auth.errors import (
    AdminOnly,
    BodyInvalid,
    BodyTooLarge,
    GrantDisabled,
    GrantUnsupported,
    MethodUnsupported,
    NameInvalid,
    PasskeysDisabled,
    ProviderDisabled,
    RequestInvalid,
    SsoDisabled,
)
from bulkhead.gateway.auth.wording import ADMIN_WORDINGS, FACTOR_WORDINGS, Wording

API_VERSION_HEADER = "x-supabase-api-version"
API_VERSION = "2024-01-01"


WORDINGS: Mapping[type[BulkheadError], Wording] = MappingProxyType(
    {
        **ADMIN_WORDINGS,
        **FACTOR_WORDINGS,
        AdminOnly: Wording("Updating app_metadata requires admin privileges"),
        BodyTooLarge: Wording("Request body too large"),
        BodyInvalid: Wording("Could not parse request body as JSON"),
        CodeInvalid: Wording("Token has expired or is invalid"),
        EmailInvalid: Wording(code="validation_failed"),
        EmailNotConfirmed: Wording("Email not confirmed"),
        EmailTaken: Wording("A user with this email address has already been registered"),
        GrantUnsupported: Wording("unsupported_grant_type", code="invalid_credentials"),
        Invalid: Wording("{reason}", code="validation_failed"),
        InvalidCredentials: Wording("Invalid login credentials"),
        MethodUnsupported: Wording("Method Not Allowed", code="method_not_allowed"),
        MailRateLimited: Wording(
            "For security purposes, you can only request this after {retry_after_s} seconds."
        ),
        NameInvalid: Wording("{name} must be an UUID", code="validation_failed"),
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
        SessionExpired: Wording("Invalid Refresh Token: Session Expired{why}"),
        SessionNotFound: Wording("Session from session_id claim in JWT does not exist", status=403),
        SignUpDisabled: Wording("Signups not allowed for this instance"),
        TokenInvalid: Wording("invalid JWT: {reason}", status=403),
        Unauthenticated: Wording(
            "This endpoint requires a valid Bearer token", code="no_authorization"
        ),
        AnonymousDisabled: Wording("Anonymous sign-ins are disabled"),
        CodeSignUpDisabled: Wording("Signups not allowed for otp"),
        CurrentPasswordNeeded: Wording("Current password required when setting new password."),
        CurrentPasswordWrong: Wording("Current password required when setting new password."),
        EmailDisabled: Wording("Email {what} are disabled"),
        FlowExpired: Wording("invalid flow state, flow state has expired"),
        FlowNotFound: Wording("invalid flow state, no valid flow state found"),
        GrantDisabled: Wording("Provider is not enabled"),
        HookInvalid: Wording("Error running hook", code="unexpected_failure"),
        HookRefused: Wording("{reason}", code="unknown"),
        IdentityInUse: Wording("Unable to unlink identity due to email conflict"),
        IdentityNotFound: Wording("Identity doesn't exist"),
        LastIdentity: Wording("User must have at least 1 identity after unlinking"),
        LinkingDisabled: Wording("Manual linking is disabled"),
        PasskeysDisabled: Wording("Passkeys are disabled"),
        PhoneDisabled: Wording("Phone {what} are disabled"),
        PhoneInvalid: Wording(
            "Invalid phone number format (E.164 required)", code="validation_failed"
        ),
        PhoneNotConfirmed: Wording("Phone not confirmed"),
        PhoneTaken: Wording("A user with this phone number has already been registered"),
        ProviderDisabled: Wording(
            "Unsupported provider: provider is not enabled", code="validation_failed"
        ),
        ReauthenticationInvalid: Wording("Nonce has expired or is invalid"),
        ReauthenticationNeeded: Wording("Password update requires reauthentication"),
        SmsRateLimited: Wording(
            "For security purposes, you can only request this after {retry_after_s} seconds."
        ),
        SsoDisabled: Wording("SAML 2.0 is disabled"),
        VerifierWrong: Wording("code challenge does not match previously saved code verifier"),
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
    if isinstance(error, HookRefused):
        status = error.http_status
    if grant and status in _REFUSALS and not isinstance(error, FlowNotFound):
        status = BodyInvalid.status
    code = "unexpected_failure" if failed else wording.code or error.code
    code = code.format_map(error.details)
    text = _FAILURE.text if failed else wording.text
    message = error.message if text is None else _fill(text, error)
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


def _wording(error: BulkheadError) -> Wording:
    for kind in type(error).__mro__:
        if kind in WORDINGS:
            return WORDINGS[kind]
    return Wording()


def _fill(text: str, error: BulkheadError) -> str:
    try:
        return text.format_map(error.details)
    except KeyError:
        return error.message
