"""Ways to sign in that this server does not have; clients learn so in words they know."""

from starlette.responses import Response

from bulkhead.gateway.auth.call import Call, Route
from bulkhead.gateway.auth.errors import PasskeysDisabled, ProviderDisabled, SsoDisabled


async def refuse_provider(call: Call) -> Response:
    """Refuse to send anybody to another site to sign in."""
    raise ProviderDisabled(provider=call.query("provider") or "")


async def refuse_sso(call: Call) -> Response:  # noqa: ARG001
    """Refuse to sign anybody in through an organisation."""
    raise SsoDisabled


async def refuse_passkeys(call: Call) -> Response:  # noqa: ARG001
    """Refuse to sign anybody in with a key of theirs."""
    raise PasskeysDisabled


ABSENT_ROUTES: tuple[Route, ...] = (
    Route("GET", "/authorize", refuse_provider),
    Route("GET", "/user/identities/authorize", refuse_provider),
    Route("POST", "/sso", refuse_sso),
    Route("GET", "/passkeys", refuse_passkeys),
    Route("POST", "/passkeys/authentication/options", refuse_passkeys),
    Route("POST", "/passkeys/authentication/verify", refuse_passkeys),
    Route("POST", "/passkeys/registration/options", refuse_passkeys),
    Route("POST", "/passkeys/registration/verify", refuse_passkeys),
)
