"""Sign up."""

from starlette.responses import Response

from bulkhead.capabilities.identity.model import Channel, Tokens
from bulkhead.capabilities.identity.sign_up import SignUp, sign_up, sign_up_anonymously
from bulkhead.gateway.auth.answers import answer_json, answer_tokens
from bulkhead.gateway.auth.call import Call
from bulkhead.gateway.auth.challenge import read_challenge
from bulkhead.gateway.auth.errors import RequestInvalid
from bulkhead.gateway.auth.recipient import find_recipient


async def post_signup(call: Call) -> Response:
    """Sign up, or sign in without an account when no address is given."""
    body = await call.body()
    recipient = find_recipient(
        body, "Only an email address or phone number should be provided on signup."
    )
    if recipient is None:
        made = await sign_up_anonymously(call.identity, body.mapping("data"), call.client)
        return answer_tokens(made)
    if not body.text("password"):
        raise RequestInvalid(reason="Signup requires a valid password")
    challenge = read_challenge(body)
    if challenge is not None and recipient.channel is not Channel.EMAIL:
        raise RequestInvalid(reason="PKCE not supported for phone signups")
    wanted = SignUp(
        recipient.address,
        body.text("password"),
        body.mapping("data") or {},
        call.redirect_to,
        challenge,
        recipient.channel,
    )
    user = await sign_up(call.identity, wanted, call.client)
    return answer_tokens(user) if isinstance(user, Tokens) else answer_json(user.to_json())
