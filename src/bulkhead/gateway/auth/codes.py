"""Ask for a code."""

from starlette.responses import Response

from bulkhead.capabilities.identity.code_requests import (
    RESENDABLE,
    CodeRequest,
    reauthenticate,
    request_code,
    request_recovery,
    resend,
)
from bulkhead.capabilities.identity.model import Channel
from bulkhead.gateway.auth.answers import answer_json
from bulkhead.gateway.auth.body import Body
from bulkhead.gateway.auth.call import Call
from bulkhead.gateway.auth.challenge import read_challenge
from bulkhead.gateway.auth.errors import RequestInvalid
from bulkhead.gateway.auth.recipient import Recipient, find_recipient


async def post_otp(call: Call) -> Response:
    """Have a code sent with which to sign in."""
    body = await call.body()
    recipient = find_recipient(body, "Only an email address or phone number should be provided")
    if recipient is None:
        raise RequestInvalid(reason="One of email or phone must be set")
    if recipient.channel is Channel.EMAIL and body.text("channel"):
        raise RequestInvalid(reason="Channel should only be specified with Phone OTP")
    create_user = body.flag("create_user", default=True)
    wanted = _read_request(call, body, recipient, create_user=create_user)
    return _answer_message(await request_code(call.identity, wanted, call.client))


async def post_magiclink(call: Call) -> Response:
    """Have a link sent with which to sign in."""
    body = await call.body()
    if not body.text("email"):
        raise RequestInvalid(reason="Password recovery requires an email")
    wanted = _read_request(call, body, Recipient(body.text("email"), Channel.EMAIL))
    await request_code(call.identity, wanted, call.client)
    return answer_json({})


async def post_recover(call: Call) -> Response:
    """Have a mail sent with which the password can be set."""
    body = await call.body()
    if not body.text("email"):
        raise RequestInvalid(reason="Password recovery requires an email")
    wanted = _read_request(call, body, Recipient(body.text("email"), Channel.EMAIL))
    await request_recovery(call.identity, wanted, call.client)
    return answer_json({})


async def post_resend(call: Call) -> Response:
    """Have a code sent once more."""
    body = await call.body()
    type_ = body.text("type")
    recipient = find_recipient(body, "Only an email address or phone number should be provided.")
    if type_ not in RESENDABLE:
        raise RequestInvalid(
            reason="Missing one of these types: signup, email_change, sms, phone_change"
        )
    if recipient is None or (recipient.channel is Channel.EMAIL) != (
        RESENDABLE[type_].channel is Channel.EMAIL
    ):
        kind = (
            "an email address" if RESENDABLE[type_].channel is Channel.EMAIL else "a phone number"
        )
        raise RequestInvalid(reason=f"Type provided requires {kind}")
    wanted = _read_request(call, body, recipient)
    return _answer_message(await resend(call.identity, type_, wanted, call.client))


async def get_reauthenticate(call: Call) -> Response:
    """Have a code sent with which the signed-in user can change the password."""
    return _answer_message(await reauthenticate(call.identity, call.user(), call.client))


def _read_request(
    call: Call, body: Body, recipient: Recipient, *, create_user: bool = True
) -> CodeRequest:
    return CodeRequest(
        recipient.address,
        recipient.channel,
        create_user=create_user,
        data=body.mapping("data") or {},
        redirect_to=call.redirect_to,
        challenge=read_challenge(body),
    )


def _answer_message(message_id: str | None) -> Response:
    return answer_json({} if message_id is None else {"message_id": message_id})
