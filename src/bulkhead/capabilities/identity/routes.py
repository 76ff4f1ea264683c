"""The HTTP API that Supabase's Auth clients speak, for one identity."""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from bulkhead.capabilities.identity.account import (
    UserChange,
    get_current_user,
    update_current_user,
)
from bulkhead.capabilities.identity.errors import CodeInvalid
from bulkhead.capabilities.identity.inbox import inbox_routes
from bulkhead.capabilities.identity.model import Client, SignOutScope, Tokens
from bulkhead.capabilities.identity.redirects import choose_redirect
from bulkhead.capabilities.identity.requests import read_bearer, read_client
from bulkhead.capabilities.identity.sign_in import refresh, sign_in, sign_out
from bulkhead.capabilities.identity.sign_up import SignUp, sign_up
from bulkhead.capabilities.identity.verification import (
    request_recovery,
    resend,
    verify_digits,
    verify_secret,
)
from bulkhead.capabilities.identity.wire import (
    API_VERSION_HEADER,
    BODY_BYTES_MAX,
    AdminOnly,
    Body,
    BodyInvalid,
    GrantUnsupported,
    RequestInvalid,
    parse_body,
    redirect_error_values,
    redirect_values,
    render_error,
    render_redirect,
)
from bulkhead.engine.errors import BulkheadError, Unauthenticated

if TYPE_CHECKING:
    from bulkhead.capabilities.identity.identity import Identity
    from bulkhead.engine.connections.claims import Claims

log = logging.getLogger(__name__)

JWKS_MAX_AGE_S = 600
ONE_OF_TWO_CONFIRMED = (
    "Confirmation link accepted. Please proceed to confirm link sent to the other email"
)
PROVIDERS = (
    *("anonymous_users", "apple", "azure", "bitbucket", "discord", "facebook", "figma", "fly"),
    *("github", "gitlab", "google", "kakao", "keycloak", "linkedin", "linkedin_oidc", "notion"),
    *("phone", "slack", "slack_oidc", "snapchat", "spotify", "twitch", "twitter", "workos", "zoom"),
)

Endpoint = Callable[["Identity", Request], Awaitable[Response]]


def identity_routes(identity: Identity) -> APIRouter:
    """The API under `/auth/v1`, and the local inbox where mail goes nowhere else.

    To be mounted under `/{application}`, which is where the links in the mail lead.
    """
    router = APIRouter(tags=["auth"])
    endpoints: tuple[tuple[str, str, Endpoint], ...] = (
        ("GET", "/health", get_health),
        ("GET", "/settings", get_settings),
        ("GET", "/.well-known/jwks.json", get_jwks),
        ("POST", "/signup", post_signup),
        ("POST", "/token", post_token),
        ("POST", "/logout", post_logout),
        ("POST", "/recover", post_recover),
        ("POST", "/resend", post_resend),
        ("POST", "/verify", post_verify),
        ("GET", "/verify", get_verify),
        ("GET", "/user", get_user),
        ("PUT", "/user", put_user),
    )
    for method, path, endpoint in endpoints:
        router.add_api_route(
            f"/auth/v1{path}",
            _answering(identity, endpoint),
            methods=[method],
            name=endpoint.__name__,
            description=endpoint.__doc__,
            response_class=Response,
        )
    if identity.mailer.carrier.keeps_mail:
        router.include_router(inbox_routes(identity))
    return router


async def get_health(identity: Identity, request: Request) -> Response:  # noqa: ARG001
    """Say that the API is there."""
    return _json({"name": "GoTrue", "version": "v2.180.0", "description": "Bulkhead identity"})


async def get_settings(identity: Identity, request: Request) -> Response:  # noqa: ARG001
    """Say how one can sign in."""
    return _json(
        {
            "external": {**dict.fromkeys(PROVIDERS, False), "email": True},
            "disable_signup": not identity.settings.sign_up_enabled,
            "mailer_autoconfirm": identity.autoconfirm,
            "phone_autoconfirm": False,
            "sms_provider": "",
            "saml_enabled": False,
        }
    )


async def get_jwks(identity: Identity, request: Request) -> Response:  # noqa: ARG001
    """Publish the keys with which others can verify our tokens."""
    headers = {"cache-control": f"public, max-age={JWKS_MAX_AGE_S}"}
    return _json(identity.tokens.keyring.keys.to_jwks(), headers=headers)


async def post_signup(identity: Identity, request: Request) -> Response:
    """Sign up."""
    body = await _read_body(request)
    if body.text("phone"):
        raise RequestInvalid(reason="Phone signups are disabled")
    if not body.text("email"):
        raise RequestInvalid(reason="Anonymous sign-ins are disabled")
    if not body.text("password"):
        raise RequestInvalid(reason="Signup requires a valid password")
    wanted = SignUp(
        body.text("email"),
        body.text("password"),
        body.mapping("data") or {},
        _read_redirect(request),
    )
    made = await sign_up(identity, wanted, _client(identity, request))
    return _tokens(made) if isinstance(made, Tokens) else _json(made.to_json())


async def post_token(identity: Identity, request: Request) -> Response:
    """Exchange a password or a refresh token for tokens."""
    client = _client(identity, request)
    match request.query_params.get("grant_type"):
        case "password":
            body = await _read_body(request)
            tokens = await sign_in(identity, body.text("email"), body.text("password"), client)
        case "refresh_token":
            body = await _read_body(request)
            if not body.text("refresh_token"):
                raise RequestInvalid(reason="refresh_token required")
            tokens = await refresh(identity, body.text("refresh_token"), client)
        case _:
            raise GrantUnsupported
    return _tokens(tokens)


async def post_logout(identity: Identity, request: Request) -> Response:
    """Sign out."""
    claims = _authenticate(identity, request)
    wanted = request.query_params.get("scope") or SignOutScope.GLOBAL.value
    try:
        scope = SignOutScope(wanted)
    except ValueError:
        raise RequestInvalid(reason=f'Unsupported logout scope "{wanted[:40]}"') from None
    await sign_out(identity, claims, scope, _client(identity, request))
    return Response(status_code=204)


async def post_recover(identity: Identity, request: Request) -> Response:
    """Have a mail sent with which the password can be set."""
    body = await _read_body(request)
    if not body.text("email"):
        raise RequestInvalid(reason="Password recovery requires an email")
    client = _client(identity, request)
    await request_recovery(identity, body.text("email"), _read_redirect(request), client)
    return _json({})


async def post_resend(identity: Identity, request: Request) -> Response:
    """Have a mail sent once more."""
    body = await _read_body(request)
    redirect_to = _read_redirect(request)
    client = _client(identity, request)
    await resend(identity, body.text("type"), body.text("email"), redirect_to, client)
    return _json({})


async def post_verify(identity: Identity, request: Request) -> Response:
    """Redeem the digits of a mail, or the hash of its link."""
    body = await _read_body(request)
    type_, digits, secret = body.text("type"), body.text("token"), body.text("token_hash")
    if not type_:
        raise RequestInvalid(reason="Verify requires a verification type")
    if bool(digits) == bool(secret):
        raise RequestInvalid(reason="Verify requires either a token or a token hash")
    client = _client(identity, request)
    if secret:
        if body.text("email") or body.text("phone"):
            raise RequestInvalid(reason="Only the token_hash and type should be provided")
        tokens = await verify_secret(identity, type_, secret, client)
    else:
        if not body.text("email") or body.text("phone"):
            raise RequestInvalid(
                reason="Only an email address or phone number should be provided on verify"
            )
        tokens = await verify_digits(identity, type_, body.text("email"), digits, client)
    if tokens is None:
        return _json({"msg": ONE_OF_TWO_CONFIRMED, "code": "200"})
    return _tokens(tokens)


async def get_verify(identity: Identity, request: Request) -> Response:
    """Follow the link of a mail, and on to the page it names."""
    query = request.query_params
    type_, secret = query.get("type", ""), query.get("token", "")
    if not type_:
        raise RequestInvalid(reason="Verify requires a verification type")
    if not secret:
        raise RequestInvalid(reason="Verify requires a token or a token hash")
    target = choose_redirect(
        query.get("redirect_to"), identity.site_url, identity.settings.redirect_urls
    )
    try:
        tokens = await verify_secret(identity, type_, secret, _client(identity, request))
    except BulkheadError as error:
        answer = render_error(error, None)
        values = redirect_error_values(answer)
        if isinstance(error, CodeInvalid):
            values["error_description"] = "Email link is invalid or has expired"
    else:
        values = (
            {"message": ONE_OF_TWO_CONFIRMED} if tokens is None else redirect_values(tokens, type_)
        )
    headers = {"cache-control": "no-store", "referrer-policy": "no-referrer"}
    return RedirectResponse(render_redirect(target, values), 303, headers=headers)


async def get_user(identity: Identity, request: Request) -> Response:
    """Show the signed-in user."""
    user = await get_current_user(identity, _authenticate(identity, request))
    return _json(user.to_json())


async def put_user(identity: Identity, request: Request) -> Response:
    """Change the signed-in user."""
    claims = _authenticate(identity, request)
    body = await _read_body(request)
    if body.values.get("app_metadata") is not None:
        raise AdminOnly
    if body.text("phone"):
        raise RequestInvalid(reason="Phone signups are disabled")
    change = UserChange(
        email=body.optional("email"),
        password=body.optional("password"),
        current_password=body.optional("current_password"),
        data=body.mapping("data"),
        redirect_to=_read_redirect(request),
    )
    user = await update_current_user(identity, claims, change, _client(identity, request))
    return _json(user.to_json())


def _answering(identity: Identity, endpoint: Endpoint) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        try:
            return await endpoint(identity, request)
        except BulkheadError as error:
            if error.status >= BulkheadError.status:
                log.warning("%s %s: %s", request.method, request.url.path, error)
            version = request.headers.get(API_VERSION_HEADER)
            said = render_error(error, version, grant=endpoint is post_token)
            return _json(said.body, status=said.status, headers=dict(said.headers))

    answer.__doc__ = endpoint.__doc__
    return answer


def _authenticate(identity: Identity, request: Request) -> Claims:
    token = read_bearer(request)
    if token is None:
        raise Unauthenticated
    return identity.verify(token)


def _client(identity: Identity, request: Request) -> Client:
    return read_client(request, identity.trusted_proxies)


def _read_redirect(request: Request) -> str | None:
    return request.query_params.get("redirect_to") or request.headers.get("redirect_to")


async def _read_body(request: Request) -> Body:
    raw = bytearray()
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > BODY_BYTES_MAX:
            raise BodyInvalid(reason=f"it has more than {BODY_BYTES_MAX} bytes")
    return parse_body(bytes(raw))


def _tokens(tokens: Tokens) -> Response:
    headers = {
        "sb-auth-user-id": str(tokens.user.id),
        "sb-auth-session-id": str(tokens.session_id),
        "pragma": "no-cache",
    }
    return _json(tokens.to_json(), headers=headers)


def _json(value: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> Response:  # noqa: ANN401
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return Response(
        text.encode("utf-8"),
        status,
        {"cache-control": "no-store", **(headers or {})},
        "application/json",
    )
