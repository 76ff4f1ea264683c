"""Exchange what proves who somebody is for tokens."""

import re
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType

from starlette.responses import Response

from bulkhead.capabilities.identity.model import Tokens
from bulkhead.capabilities.identity.sign_in import exchange_code, refresh, sign_in
from bulkhead.gateway.auth.answers import answer_tokens
from bulkhead.gateway.auth.call import Call
from bulkhead.gateway.auth.errors import GrantDisabled, GrantUnsupported, RequestInvalid
from bulkhead.gateway.auth.recipient import find_recipient

_REFRESH_TOKEN = re.compile(r"[a-z0-9]{12}")


async def post_token(call: Call) -> Response:
    """Exchange a password, a refresh token or the code of a sign-in for tokens."""
    grant = GRANTS.get(call.query("grant_type") or "")
    if grant is None:
        raise GrantUnsupported
    return answer_tokens(await grant(call))


async def grant_password(call: Call) -> Tokens:
    """Sign in with an address and a password."""
    body = await call.body()
    recipient = find_recipient(
        body, "Only an email address or phone number should be provided on login."
    )
    if recipient is None:
        raise RequestInvalid(reason="missing email or phone")
    return await sign_in(
        call.identity,
        recipient.address,
        body.text("password"),
        call.client,
        recipient.channel,
    )


async def grant_refresh(call: Call) -> Tokens:
    """Stay signed in."""
    body = await call.body()
    token = body.text("refresh_token")
    if not token:
        raise RequestInvalid(reason="refresh_token required")
    if _REFRESH_TOKEN.fullmatch(token) is None:
        raise RequestInvalid(reason="Refresh token is not valid")
    return await refresh(call.identity, token, call.client)


async def grant_code(call: Call) -> Tokens:
    """Complete a sign-in that this client began."""
    body = await call.body()
    auth_code, verifier = body.text("auth_code"), body.text("code_verifier")
    if not auth_code or not verifier:
        raise RequestInvalid(
            reason="invalid request: both auth code and code verifier should be non-empty"
        )
    return await exchange_code(call.identity, auth_code, verifier, call.client)


async def refuse(call: Call) -> Tokens:
    """Refuse to believe somebody else's token."""
    raise GrantDisabled(grant=call.query("grant_type"))


GRANTS: Mapping[str, Callable[[Call], Awaitable[Tokens]]] = MappingProxyType(
    {
        "password": grant_password,
        "refresh_token": grant_refresh,
        "pkce": grant_code,
        "id_token": refuse,
        "web3": refuse,
    }
)
