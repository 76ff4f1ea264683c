"""Sign up."""

from starlette.responses import Response

from bulkhead.capabilities.identity.model import Tokens
from bulkhead.capabilities.identity.sign_up import SignUp, sign_up
from bulkhead.gateway.auth.answers import answer_json, answer_tokens
from bulkhead.gateway.auth.call import Call
from bulkhead.gateway.auth.errors import RequestInvalid


async def post_signup(call: Call) -> Response:
    """Sign up."""
    body = await call.body()
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
        call.redirect_to,
    )
    made = await sign_up(call.identity, wanted, call.client)
    return answer_tokens(made) if isinstance(made, Tokens) else answer_json(made.to_json())
