"""The signed-in user."""

from uuid import UUID

from starlette.responses import Response

from bulkhead.capabilities.identity.account import (
    UserChange,
    get_current_user,
    update_current_user,
)
from bulkhead.capabilities.identity.linked_identities import unlink_identity
from bulkhead.capabilities.identity.model import Channel, SignOutScope
from bulkhead.capabilities.identity.sign_in import sign_out
from bulkhead.gateway.auth.answers import answer_json
from bulkhead.gateway.auth.call import Call
from bulkhead.gateway.auth.challenge import read_challenge
from bulkhead.gateway.auth.errors import AdminOnly, NameInvalid, RequestInvalid
from bulkhead.gateway.auth.recipient import read_channel


async def get_user(call: Call) -> Response:
    """Show the signed-in user."""
    user = await get_current_user(call.identity, call.user())
    return answer_json(user.to_json())


async def put_user(call: Call) -> Response:
    """Change the signed-in user."""
    claims = call.user()
    body = await call.body()
    if body.values.get("app_metadata") is not None:
        raise AdminOnly
    has_password = body.values.get("password") is not None
    change = UserChange(
        email=body.optional("email"),
        phone=body.optional("phone"),
        password=body.text("password") if has_password else None,
        current_password=body.optional("current_password"),
        nonce=body.optional("nonce"),
        data=body.mapping("data"),
        redirect_to=call.redirect_to,
        challenge=read_challenge(body),
        channel=read_channel(body) if body.text("phone") else Channel.SMS,
    )
    user = await update_current_user(call.identity, claims, change, call.client)
    return answer_json(user.to_json())


async def delete_identity(call: Call) -> Response:
    """Sign in that way no more."""
    claims = call.user()
    try:
        identity_id = UUID(call.names["identity_id"])
    except ValueError:
        raise NameInvalid(name="identity_id") from None
    await unlink_identity(call.identity, claims, identity_id, call.client)
    return answer_json({})


async def post_logout(call: Call) -> Response:
    """Sign out."""
    claims = call.user()
    wanted = call.query("scope") or SignOutScope.GLOBAL.value
    try:
        scope = SignOutScope(wanted)
    except ValueError:
        raise RequestInvalid(reason=f'Unsupported logout scope "{wanted[:40]}"') from None
    await sign_out(call.identity, claims, scope, call.client)
    return Response(status_code=204)
