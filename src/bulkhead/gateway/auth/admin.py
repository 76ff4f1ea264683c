"""What the application itself does to users, with its service key."""

from __future__ import annotations

from uuid import UUID

from starlette.responses import Response

from bulkhead.capabilities.identity import administration, invitations
from bulkhead.capabilities.identity.administration import UserSpec
from bulkhead.capabilities.identity.durations import parse_duration
from bulkhead.capabilities.identity.errors import TokenInvalid
from bulkhead.capabilities.identity.invitations import GeneratedLink, LinkRequest, LinkType
from bulkhead.capabilities.identity.model import AUDIENCE
from bulkhead.capabilities.identity.users.service import parse_email, parse_phone
from bulkhead.engine.connections.claims import Role
from bulkhead.engine.errors import BulkheadError, Unauthenticated
from bulkhead.gateway.auth.answers import answer_json
from bulkhead.gateway.auth.body import Body
from bulkhead.gateway.auth.call import Call, Endpoint, Route
from bulkhead.gateway.auth.errors import NotAdministrator, RequestInvalid
from bulkhead.gateway.auth.factors import read_id
from bulkhead.gateway.auth.pages import page_headers, read_order, read_page

AUDIT_FIELDS = {
    "author": ("actor_username", "actor_name"),
    "action": ("action",),
    "type": ("log_type",),
}
ROLE_LENGTH_MAX = 63


async def get_users(call: Call) -> Response:
    """List users, a page at a time."""
    page, ascending = read_page(call), read_order(call)
    found = await administration.list_users(
        call.identity, page, call.query("filter") or "", ascending=ascending
    )
    body = {"users": [user.to_json() for user in found.users], "aud": AUDIENCE}
    return answer_json(body, headers=page_headers(call, page, found.total))


async def post_users(call: Call) -> Response:
    """Create a user."""
    spec = read_spec(await call.body())
    if not (spec.email or spec.phone):
        raise RequestInvalid(reason="Cannot create a user without either an email or phone")
    if spec.password is not None and spec.password_hash is not None:
        raise RequestInvalid(reason="Only a password or a password hash should be provided")
    user = await administration.add_user(call.identity, spec, call.client)
    return answer_json(user.to_json())


async def get_user(call: Call) -> Response:
    """Show a user."""
    user = await administration.get_any_user(call.identity, read_id(call, "user_id"))
    return answer_json(user.to_json())


async def put_user(call: Call) -> Response:
    """Change a user."""
    user_id = read_id(call, "user_id")
    spec = read_spec(await call.body())
    user = await administration.change_user(call.identity, user_id, spec, call.client)
    return answer_json(user.to_json())


async def delete_user(call: Call) -> Response:
    """Delete a user, or everything that says who it was."""
    user_id = read_id(call, "user_id")
    softly = (await call.body()).flag("should_soft_delete")
    await administration.delete_user(call.identity, user_id, call.client, softly=softly)
    return answer_json({})


async def get_factors(call: Call) -> Response:
    """List the second factors of a user."""
    user = await administration.get_any_user(call.identity, read_id(call, "user_id"))
    return answer_json([factor.to_json() for factor in user.factors])


async def delete_factor(call: Call) -> Response:
    """Take a second factor from a user."""
    user_id, factor_id = read_id(call, "user_id"), read_id(call, "factor_id")
    factor = await administration.remove_factor(call.identity, user_id, factor_id, call.client)
    return answer_json(factor.to_json())


async def put_factor(call: Call) -> Response:
    """Rename a second factor of a user."""
    user_id, factor_id = read_id(call, "user_id"), read_id(call, "factor_id")
    name = (await call.body()).text("friendly_name")
    factor = await administration.rename_factor(
        call.identity, user_id, factor_id, name, call.client
    )
    return answer_json(factor.to_json())


async def get_audit(call: Call) -> Response:
    """Show what happened."""
    page = read_page(call)
    query = call.query("query") or ""
    scope, found, text = query.partition(":")
    if query and (not found or scope not in AUDIT_FIELDS):
        raise RequestInvalid(reason=f"Invalid query scope: {query[:80]}")
    fields = AUDIT_FIELDS[scope] if query else ()
    entries = await administration.list_audit_log(call.identity, page, fields, text)
    return answer_json(entries.entries, headers=page_headers(call, page, entries.total))


async def post_invite(call: Call) -> Response:
    """Create a user and mail them the link with which they become one."""
    body = await call.body()
    user = await invitations.invite(
        call.identity, body.text("email"), body.mapping("data"), call.redirect_to, call.client
    )
    return answer_json(user.to_json())


async def post_link(call: Call) -> Response:
    """Make the link of a mail that the application sends itself."""
    body = await call.body()
    try:
        kind = LinkType(body.text("type"))
    except ValueError:
        asked = body.text("type")[:40]
        raise RequestInvalid(reason=f"Invalid email action link type requested: {asked}") from None
    wanted = LinkRequest(
        kind,
        body.text("email"),
        body.text("new_email"),
        body.text("password"),
        body.mapping("data"),
        body.optional("redirect_to") or call.redirect_to,
    )
    made = await invitations.generate_link(call.identity, wanted, call.client)
    return answer_json(render_link(made))


def read_spec(body: Body) -> UserSpec:
    """What a user shall be like; raises RequestInvalid, BodyInvalid, EmailInvalid, PhoneInvalid."""
    email, phone = body.optional("email"), body.optional("phone")
    role = body.text("role").strip()
    if len(role) > ROLE_LENGTH_MAX:
        raise RequestInvalid(reason="role is too long")
    password = body.values.get("password")
    return UserSpec(
        id=_read_new_id(body),
        email=parse_email(email) if email else None,
        phone=parse_phone(phone) if phone else None,
        email_confirm=body.flag("email_confirm"),
        phone_confirm=body.flag("phone_confirm"),
        password=None if password is None else body.text("password"),
        password_hash=body.optional("password_hash"),
        role=role or None,
        app_metadata=body.mapping("app_metadata"),
        user_metadata=body.mapping("user_metadata"),
        ban_s=_read_ban(body),
    )


def render_link(made: GeneratedLink) -> dict[str, object]:
    """The link and what else the mail may say, beside the members of the user."""
    return {
        **made.user.to_json(),
        "action_link": made.link,
        "email_otp": made.digits,
        "hashed_token": made.secret,
        "verification_type": made.type.value,
        "redirect_to": made.redirect_to,
    }


def check_administrator(call: Call) -> None:
    """Raise Unauthenticated, TokenInvalid or NotAdministrator unless it is the application."""
    headers = call.request.headers
    if not headers.get("authorization") and not headers.get("apikey"):
        raise Unauthenticated
    if call.authenticate is None:
        call.user()
        raise NotAdministrator
    try:
        claims = call.authenticate(headers.raw)
    except BulkheadError as error:
        if error.status >= BulkheadError.status:
            raise
        raise TokenInvalid(reason="unable to parse or verify signature") from None
    if claims.role != Role.SERVICE:
        raise NotAdministrator


def _guarded(endpoint: Endpoint) -> Endpoint:
    async def answer(call: Call) -> Response:
        check_administrator(call)
        return await endpoint(call)

    return answer


def _read_new_id(body: Body) -> UUID | None:
    text = body.optional("id")
    if text is None:
        return None
    try:
        found = UUID(text)
    except ValueError:
        raise RequestInvalid(reason="ID must conform to the uuid v4 format") from None
    if not found.int:
        raise RequestInvalid(reason="ID cannot be a nil uuid")
    return found


def _read_ban(body: Body) -> float | None:
    text = body.optional("ban_duration")
    if text is None:
        return None
    try:
        return 0.0 if text == "none" else parse_duration(text)
    except ValueError as error:
        raise RequestInvalid(reason=f"invalid format for ban duration: {error}") from None


ADMIN_ROUTES: tuple[Route, ...] = tuple(
    Route(method, path, _guarded(endpoint))
    for method, path, endpoint in (
        ("GET", "/admin/users", get_users),
        ("POST", "/admin/users", post_users),
        ("GET", "/admin/users/{user_id}", get_user),
        ("PUT", "/admin/users/{user_id}", put_user),
        ("DELETE", "/admin/users/{user_id}", delete_user),
        ("GET", "/admin/users/{user_id}/factors", get_factors),
        ("DELETE", "/admin/users/{user_id}/factors/{factor_id}", delete_factor),
        ("PUT", "/admin/users/{user_id}/factors/{factor_id}", put_factor),
        ("GET", "/admin/audit", get_audit),
        ("POST", "/admin/generate_link", post_link),
        ("POST", "/invite", post_invite),
    )
)
