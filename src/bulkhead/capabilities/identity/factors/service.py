"""Add, challenge, verify and remove second factors.

Every function is called with the row of the user locked, so that what it looks at stays so: of
several requests with one code, one passes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from bulkhead.capabilities.identity.factors.model import (
    AAL_ONE,
    AAL_TWO,
    Challenge,
    ChallengeExpired,
    ChallengeNotFound,
    ChallengeUsed,
    EnrolmentNeedsSecondFactor,
    FactorNameTaken,
    FactorNotFound,
    FactorSecret,
    FactorsTooMany,
    FactorType,
    SecondFactorRequired,
    parse_factor,
)
from bulkhead.capabilities.identity.model import Factor, Session
from bulkhead.capabilities.identity.sessions.service import create_refresh_token, list_methods
from bulkhead.engine.connections.queries import load_queries
from bulkhead.engine.ids import new_id

if TYPE_CHECKING:
    from bulkhead.capabilities.identity.model import Client, SessionId, UserId
    from bulkhead.capabilities.identity.settings import IdentitySettings
    from bulkhead.engine.connections.transaction import Transaction

QUERIES = load_queries(__package__)

ADDRESS_UNKNOWN = "0.0.0.0"  # noqa: S104 - stands in a column that is not null
AMR_METHODS = {
    FactorType.TOTP: "totp",
    FactorType.PHONE: "mfa/phone",
    FactorType.WEBAUTHN: "mfa/webauthn",
}


async def list_factors(tx: Transaction, user: UserId) -> list[Factor]:
    """The factors of `user`, the oldest first."""
    return [parse_factor(row) for row in await tx.fetch(QUERIES.list_factors, user)]


async def get_factor(tx: Transaction, user: UserId, factor: UUID) -> FactorSecret:
    """A factor of `user`; raises FactorNotFound."""
    row = await tx.fetchrow(QUERIES.find_factor, user, factor)
    if row is None:
        raise FactorNotFound(what="Factor")
    return FactorSecret(parse_factor(row), row["secret"] or "", row["last_used_step"])


async def find_level(tx: Transaction, user: UserId, session: SessionId) -> tuple[str, bool]:
    """How sure we are of who uses `session`, and whether `user` has a verified factor."""
    row = await tx.fetchrow(QUERIES.find_level, session, user)
    return (AAL_ONE, True) if row is None else (row["aal"] or AAL_ONE, row["has_factor"])


async def check_level(tx: Transaction, user: UserId, session: SessionId) -> None:
    """Raise SecondFactorRequired where `user` has a factor that was not verified in `session`."""
    level, has_factor = await find_level(tx, user, session)
    if has_factor and level != AAL_TWO:
        raise SecondFactorRequired


async def check_enrolment(
    tx: Transaction, user: UserId, session: SessionId, name: str, settings: IdentitySettings
) -> None:
    """Raise what keeps `user` from adding a factor called `name` in `session`.

    FactorNameTaken, FactorsTooMany, EnrolmentNeedsSecondFactor. Factors that were begun and given
    up are forgotten first.
    """
    await tx.execute(QUERIES.delete_stale_factors, settings.factor_ttl_s, user)
    factors = await list_factors(tx, user)
    if any((factor.friendly_name or "") == name for factor in factors):
        raise FactorNameTaken(name=name)
    if len(factors) >= settings.factors_max:
        raise FactorsTooMany
    level, has_factor = await find_level(tx, user, session)
    if has_factor and level != AAL_TWO:
        raise EnrolmentNeedsSecondFactor


async def insert_factor(tx: Transaction, user: UserId, name: str, secret: str) -> UUID:
    """Add an authenticator to `user` that is yet to be verified."""
    factor = new_id()
    await tx.execute(QUERIES.insert_factor, factor, user, name, secret)
    return factor


async def challenge_factor(
    tx: Transaction, factor: Factor, client: Client, settings: IdentitySettings
) -> Challenge:
    """Ask for a code of `factor`."""
    challenge = new_id()
    expires_at = await tx.fetchval(
        QUERIES.insert_challenge,
        challenge,
        UUID(factor.id),
        client.address or ADDRESS_UNKNOWN,
        settings.challenge_ttl_s,
    )
    return Challenge(challenge, factor.factor_type, expires_at)


async def check_challenge(
    tx: Transaction, factor: Factor, challenge: UUID, client: Client, settings: IdentitySettings
) -> None:
    """Raise ChallengeNotFound, ChallengeUsed or ChallengeExpired unless it can be answered."""
    row = await tx.fetchrow(
        QUERIES.find_challenge,
        challenge,
        UUID(factor.id),
        client.address or ADDRESS_UNKNOWN,
        settings.challenge_ttl_s,
        settings.code_attempts,
    )
    if row is None:
        raise ChallengeNotFound
    if row["used"]:
        raise ChallengeUsed
    if row["expired"]:
        raise ChallengeExpired(challenge=challenge)


async def count_failure(tx: Transaction, challenge: UUID) -> None:
    """Note that a wrong code was tried; the transaction must commit for it to count."""
    await tx.execute(QUERIES.count_failure, challenge)


async def accept_code(tx: Transaction, factor: Factor, challenge: UUID, step: int) -> None:
    """Note that the code of `step` was given: the factor is verified, the challenge answered."""
    await tx.execute(QUERIES.accept_code, UUID(factor.id), challenge, step)


async def raise_session(
    tx: Transaction, user: UserId, session: SessionId, factor: Factor
) -> Session:
    """Note that `factor` was verified in `session`, which gets another refresh token.

    Sessions of `user` in which no factor was verified end.
    """
    token = create_refresh_token()
    method = AMR_METHODS[FactorType(factor.factor_type)]
    # A statement of its own, so that the next one sees the token of a refresh that was under way.
    await tx.execute(QUERIES.lock_session, session)
    await tx.execute(QUERIES.raise_session, session, user, UUID(factor.id), method, token)
    return Session(session, token, await list_methods(tx, session), AAL_TWO)


async def delete_factor(tx: Transaction, user: UserId, factor: Factor) -> None:
    """Take `factor` away from `user`; sessions in which it was verified fall back to one proof."""
    method = AMR_METHODS[FactorType(factor.factor_type)]
    await tx.execute(QUERIES.lower_sessions, user, UUID(factor.id), method)
    await tx.execute(QUERIES.delete_factor, user, UUID(factor.id))


async def rename_factor(tx: Transaction, user: UserId, factor: Factor, name: str) -> None:
    """Call `factor` something else; raises UniqueViolated when another one is called so."""
    await tx.execute(QUERIES.rename_factor, user, UUID(factor.id), name)


async def prune_factors(tx: Transaction, settings: IdentitySettings) -> None:
    """Forget challenges nobody answered and factors nobody verified."""
    await tx.execute(QUERIES.prune_challenges)
    await tx.execute(QUERIES.delete_stale_factors, settings.factor_ttl_s, None)
