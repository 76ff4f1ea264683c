"""Exchange what proves who somebody is for tokens."""

from starlette.responses import Response

from bulkhead.capabilities.identity.sign_in import refresh, sign_in
from bulkhead.gateway.auth.answers import answer_tokens
from bulkhead.gateway.auth.call import Call
from bulkhead.gateway.auth.errors import GrantUnsupported, RequestInvalid


async def post_token(call: Call) -> Response:
    """Exchange a password or a refresh token for tokens."""
    client = call.client
    match call.query("grant_type"):
        case "password":
            body = await call.body()
            tokens = await sign_in(call.identity, body.text("email"), body.text("password"), client)
        case "refresh_token":
            body = await call.body()
            if not body.text("refresh_token"):
                raise RequestInvalid(reason="refresh_token required")
            tokens = await refresh(call.identity, body.text("refresh_token"), client)
        case _:
            raise GrantUnsupported
    return answer_tokens(tokens)
