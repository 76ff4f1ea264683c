"""Redeem a code."""

from starlette.responses import RedirectResponse, Response

from bulkhead.capabilities.identity.codes.service import FLOW_PREFIX
from bulkhead.capabilities.identity.errors import CodeInvalid
from bulkhead.capabilities.identity.redirects import choose_redirect
from bulkhead.capabilities.identity.verification import (
    follow_link,
    verify_digits,
    verify_secret,
)
from bulkhead.engine.errors import BulkheadError
from bulkhead.gateway.auth.answers import answer_json, answer_tokens
from bulkhead.gateway.auth.call import Call
from bulkhead.gateway.auth.errors import RequestInvalid
from bulkhead.gateway.auth.recipient import find_recipient
from bulkhead.gateway.auth.redirect import (
    redirect_error_values,
    redirect_values,
    render_code_redirect,
    render_redirect,
)
from bulkhead.gateway.auth.wire import render_error

ONE_OF_TWO_CONFIRMED = (
    "Confirmation link accepted. Please proceed to confirm link sent to the other email"
)


async def post_verify(call: Call) -> Response:
    """Redeem the digits of a message, or the secret of a link."""
    body = await call.body()
    type_, digits, secret = body.text("type"), body.text("token"), body.text("token_hash")
    if not type_:
        raise RequestInvalid(reason="Verify requires a verification type")
    if bool(digits) == bool(secret):
        raise RequestInvalid(reason="Verify requires either a token or a token hash")
    wrong = "Only an email address or phone number should be provided on verify"
    if secret:
        if body.text("email") or body.text("phone") or body.text("redirect_to"):
            raise RequestInvalid(reason="Only the token_hash and type should be provided")
        tokens = await verify_secret(call.identity, type_, secret, call.client)
    else:
        recipient = find_recipient(body, wrong)
        if recipient is None:
            raise RequestInvalid(reason=wrong)
        tokens = await verify_digits(
            call.identity,
            type_,
            recipient.address,
            digits,
            call.client,
            channel=recipient.channel,
        )
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
        call.redirect_to, call.identity.site_url, call.identity.settings.redirect_urls
    )
    headers = {"cache-control": "no-store", "referrer-policy": "no-referrer"}
    return RedirectResponse(await _follow(call, type_, secret, target), 303, headers=headers)


async def _follow(call: Call, type_: str, secret: str, target: str) -> str:
    """The address to go on to; what went wrong and who waits for whom stands in it."""
    has_client = secret.startswith(FLOW_PREFIX)
    try:
        link = await follow_link(call.identity, type_, secret, call.client)
    except BulkheadError as error:
        values = redirect_error_values(render_error(error, None))
        if isinstance(error, CodeInvalid):
            values["error_description"] = "Email link is invalid or has expired"
        return render_redirect(target, values, in_query=has_client)
    if link.auth_code is not None:
        return render_code_redirect(target, link.auth_code)
    if link.tokens is None:
        return render_redirect(target, {"message": ONE_OF_TWO_CONFIRMED}, in_query=has_client)
    return render_redirect(target, redirect_values(link.tokens, link.type))
