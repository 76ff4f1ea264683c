"""Begin a sign-in for a client, and let that client alone complete it.

The link of a mail may be opened in another program than the one that asked for it, or be seen on
its way. So it leads to a code that only the client can exchange which knows the secret behind the
challenge it began with. Source: RFC 7636; the rules and words are those of Supabase's Auth server.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from bulkhead.capabilities.identity.errors import FlowExpired, FlowNotFound, VerifierWrong
from bulkhead.capabilities.identity.model import Challenge, Method, UserId
from bulkhead.engine.connections.queries import load_queries
from bulkhead.engine.ids import new_id

if TYPE_CHECKING:
    from bulkhead.engine.connections.transaction import Transaction

QUERIES = load_queries(__package__)


@dataclass(frozen=True, slots=True)
class CompletedFlow:
    """A sign-in whose client has shown to be the one that began it."""

    user_id: UserId
    method: Method
    provider_type: str


async def begin_flow(
    tx: Transaction, user: UserId, challenge: Challenge | None, method: Method
) -> UUID | None:
    """Note that a client wants to sign `user` in; None without a challenge, or such a user."""
    if challenge is None:
        return None
    provider_type = "email" if method is Method.EMAIL_SIGN_UP else method.value
    found: UUID | None = await tx.fetchval(
        QUERIES.begin_flow,
        new_id(),
        user,
        str(UUID(bytes=secrets.token_bytes(16), version=4)),
        challenge.method,
        challenge.text,
        provider_type,
        method.value,
    )
    return found


async def issue_auth_code(tx: Transaction, flow: UUID) -> str:
    """The code that completes a sign-in; raises FlowNotFound."""
    code: str | None = await tx.fetchval(QUERIES.issue_auth_code, flow)
    if code is None:
        raise FlowNotFound(what="Sign-in")
    return code


async def complete_flow(
    tx: Transaction, auth_code: str, verifier: str, ttl_s: float
) -> CompletedFlow:
    """Use up the code of a sign-in, with its user locked.

    Raises FlowNotFound, FlowExpired, and VerifierWrong for a client that did not begin it.
    """
    # Before the sign-in, as by whoever ends it; and no session is opened behind the back of a
    # deletion under way.
    await tx.execute(QUERIES.lock_user_of_flow, auth_code)
    row = await tx.fetchrow(QUERIES.lock_flow, auth_code, ttl_s)
    if row is None:
        raise FlowNotFound(what="Sign-in")
    if row["expired"]:
        raise FlowExpired
    challenge = Challenge(row["code_challenge"] or "", row["code_challenge_method"] or "")
    if not is_answer(challenge, verifier):
        raise VerifierWrong
    await tx.execute(QUERIES.end_flow, row["id"])
    return CompletedFlow(
        UserId(row["user_id"]), Method(row["authentication_method"]), row["provider_type"]
    )


async def end_flows(tx: Transaction, user: UserId) -> None:
    """Void the codes and the links of sign-ins that are under way; `user` is locked."""
    await tx.execute(QUERIES.end_flows, user)


async def prune_flows(tx: Transaction) -> None:
    """Forget the sign-ins that nobody completed."""
    await tx.execute(QUERIES.prune_flows)


def is_answer(challenge: Challenge, verifier: str) -> bool:
    """Whether `verifier` is what `challenge` was made from; pure."""
    expected = verifier.encode(errors="replace")
    if challenge.method == "s256":
        expected = base64.urlsafe_b64encode(hashlib.sha256(expected).digest()).rstrip(b"=")
    return bool(challenge.text) and hmac.compare_digest(challenge.text.encode(), expected)
