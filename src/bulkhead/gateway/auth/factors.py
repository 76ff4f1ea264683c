"""Second factors of the signed-in user."""

from __future__ import annotations

from uuid import UUID

from starlette.responses import Response

from bulkhead.capabilities.identity.factors.model import EnrolledFactor
from bulkhead.capabilities.identity.factors.totp import render_qr
from bulkhead.capabilities.identity.multi_factor import (
    Enrolment,
    challenge_factor,
    enroll_factor,
    unenroll_factor,
    verify_factor,
)
from bulkhead.gateway.auth.answers import answer_json, answer_tokens
from bulkhead.gateway.auth.call import Call, Route
from bulkhead.gateway.auth.errors import BodyInvalid, NameInvalid, RequestInvalid


async def post_factors(call: Call) -> Response:
    """Add an authenticator, to be verified next."""
    claims = call.user()
    body = await call.body()
    wanted = Enrolment(body.text("factor_type"), body.text("friendly_name"), body.text("issuer"))
    enrolled = await enroll_factor(call.identity, claims, wanted, call.client)
    return answer_json(_render(enrolled))


async def post_challenge(call: Call) -> Response:
    """Ask for a code of a factor."""
    claims = call.user()
    factor_id = read_id(call, "factor_id")
    await call.body()
    challenge = await challenge_factor(call.identity, claims, factor_id, call.client)
    return answer_json(
        {
            "id": str(challenge.id),
            "type": challenge.factor_type,
            "expires_at": int(challenge.expires_at.timestamp()),
        }
    )


async def post_verify(call: Call) -> Response:
    """Answer a challenge with a code, for tokens of a session with two proofs."""
    claims = call.user()
    factor_id = read_id(call, "factor_id")
    body = await call.body()
    if not body.text("code"):
        raise RequestInvalid(reason="Code needs to be non-empty")
    try:
        challenge_id = UUID(body.text("challenge_id"))
    except ValueError:
        raise BodyInvalid(reason="challenge_id must be a UUID") from None
    tokens = await verify_factor(
        call.identity, claims, factor_id, challenge_id, body.text("code"), call.client
    )
    return answer_tokens(tokens)


async def delete_factor(call: Call) -> Response:
    """Remove a factor."""
    claims = call.user()
    factor_id = read_id(call, "factor_id")
    await unenroll_factor(call.identity, claims, factor_id, call.client)
    return answer_json({"id": str(factor_id)})


FACTOR_ROUTES: tuple[Route, ...] = (
    Route("POST", "/factors", post_factors),
    Route("POST", "/factors/{factor_id}/challenge", post_challenge),
    Route("POST", "/factors/{factor_id}/verify", post_verify),
    Route("DELETE", "/factors/{factor_id}", delete_factor),
)


def read_id(call: Call, name: str) -> UUID:
    """The UUID called `name` in the path; raises NameInvalid."""
    try:
        return UUID(call.names[name])
    except ValueError:
        raise NameInvalid(name=name) from None


def _render(enrolled: EnrolledFactor) -> dict[str, object]:
    return {
        "id": str(enrolled.id),
        "type": "totp",
        "friendly_name": enrolled.friendly_name,
        "totp": {
            "qr_code": render_qr(enrolled.uri),
            "secret": enrolled.secret,
            "uri": enrolled.uri,
        },
    }
