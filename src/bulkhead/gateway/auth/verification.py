"""Ask for a code, and redeem it."""

from starlette.responses import RedirectResponse, Response

from bulkhead.capabilities.identity.errors import CodeInvalid
from bulkhead.capabilities.identity.redirects import choose_redirect
from bulkhead.capabilities.identity.verification import (
    request_recovery,
    resend,
    verify_digits,
    verify_secret,
)
from bulkhead.engine.errors import BulkheadError
from bulkhead.gateway.auth.answers import answer_json, answer_tokens
from bulkhead.gateway.auth.call import Call
from bulkhead.gateway.auth.errors import RequestInvalid
from bulkhead.gateway.auth.redirect import redirect_error_values, redirect_values, render_redirect
from bulkhead.gateway.auth.wire import render_error

ONE_OF_TWO_CONFIRMED = (
    "Confirmation link accepted. Please proceed to confirm link sent to the other email"
)


async def post_recover(call: Call) -> Response:
    """Have a mail sent with which the password can be set."""
    body = await call.body()
    if not body.text("email"):
        raise RequestInvalid(reason="Password recovery requires an email")
    client = call.client
    await request_recovery(call.identity, body.text("email"), call.redirect_to, client)
    return answer_json({})


async def post_resend(call: Call) -> Response:
    """Have a mail sent once more."""
    body = await call.body()
    redirect_to = call.redirect_to
    client = call.client
    await resend(call.identity, body.text("type"), body.text("email"), redirect_to, client)
    return answer_json({})


async def post_verify(call: Call) -> Response:
    """Redeem the digits of a mail, or the hash of its link."""
    body = await call.body()
    type_, digits, secret = body.text("type"), body.text("token"), body.text("token_hash")
    if not type_:
        raise RequestInvalid(reason="Verify requires a verification type")
    if bool(digits) == bool(secret):
        raise RequestInvalid(reason="Verify requires either a token or a token hash")
    client = call.client
    if secret:
        if body.text("email") or body.text("phone"):
            raise RequestInvalid(reason="Only the token_hash and type should be provided")
        tokens = await verify_secret(call.identity, type_, secret, client)
    else:
        if not body.text("email") or body.text("phone"):
            raise RequestInvalid(
                reason="Only an email address or phone number should be provided on verify"
            )
        tokens = await verify_digits(call.identity, type_, body.text("email"), digits, client)
    if tokens is None:
        return answer_json({"msg": ONE_OF_TWO_CONFIRMED, "code": "200"})
    return answer_tokens(tokens)


async def get_verify(call: Call) -> Response:
    """Follow the link of a mail, and on to the page it names."""
    type_, secret = call.query("type") or "", call.query("token") or ""
    if not type_:
        raise RequestInvalid(reason="Verify requires a verification type")
    if not secret:
        raise RequestInvalid(reason="Verify requires a token or a token hash")
    target = choose_redirect(
        call.query("redirect_to"), call.identity.site_url, call.identity.settings.redirect_urls
    )
    try:
        tokens = await verify_secret(call.identity, type_, secret, call.client)
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
