"""Second factors of the signed-in user: add, challenge, verify, remove.

The rules are those of Supabase's Auth server. Beyond them, a code counts once (RFC 6238, section
5.2), wrong codes are counted for each challenge and for each user, and the refresh token from
before the second factor is of no use after it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from uuid import UUID

from bulkhead.capabilities.identity.factors import service as factors
from bulkhead.capabilities.identity.factors.model import (
    AAL_TWO,
    AnonymousRefused,
    Challenge,
    EnrolledFactor,
    EnrolmentInvalid,
    FactorCodeWrong,
    FactorSecret,
    FactorType,
    FactorTypeDisabled,
    FactorUseDisabled,
    RemovalNeedsSecondFactor,
)
from bulkhead.capabilities.identity.factors.totp import create_secret, find_step, render_uri
from bulkhead.capabilities.identity.limits.service import refill
from bulkhead.capabilities.identity.model import Client, Factor, Method, SessionId, Tokens, UserRow
from bulkhead.capabilities.identity.sessions.service import check_session
from bulkhead.capabilities.identity.users.service import (
    get_active_user,
    lock_user,
    write_audit_entry,
)
from bulkhead.engine.clock import now
from bulkhead.engine.connections.claims import SERVICE

if TYPE_CHECKING:
    from bulkhead.capabilities.identity.identity import Identity
    from bulkhead.engine.connections.claims import Claims
    from bulkhead.engine.connections.transaction import Transaction

NAME_LENGTH_MAX = 200
ISSUER_LENGTH_MAX = 64


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What somebody wants to add."""

    factor_type: str
    friendly_name: str = ""
    issuer: str = ""
    """What an authenticator shows beside the codes; by default the host of the site."""


async def enroll_factor(
    identity: Identity, claims: Claims, wanted: Enrolment, client: Client
) -> EnrolledFactor:
    """Add an authenticator to the user of `claims`, which counts once a code was verified.

    Raises EnrolmentInvalid, FactorTypeDisabled, FactorNameTaken, FactorsTooMany, AnonymousRefused,
    EnrolmentNeedsSecondFactor, SessionNotFound, UserBanned.
    """
    _check_enrolment(identity, wanted)
    secret = create_secret()
    async with identity.users.transaction(SERVICE) as tx:
        user, session = await _lock_member(tx, claims)
        name = wanted.friendly_name
        await factors.check_enrolment(tx, user.id, session, name, identity.settings)
        factor = await factors.insert_factor(tx, user.id, name, secret)
        await write_audit_entry(tx, "factor_in_progress", user, client, factor_id=str(factor))
    issuer = wanted.issuer or urlsplit(identity.site_url).netloc
    account = user.email or user.phone or str(user.id)
    return EnrolledFactor(factor, name, secret, render_uri(issuer, account, secret))


async def challenge_factor(
    identity: Identity, claims: Claims, factor_id: UUID, client: Client
) -> Challenge:
    """Ask for a code of a factor of the user of `claims`.

    Raises FactorNotFound, FactorUseDisabled, RateLimited, and what `enroll_factor` raises for
    the user.
    """
    await identity.limit_client(identity.settings.limits.factor, client)
    async with identity.users.transaction(SERVICE) as tx:
        user, _ = await _lock_member(tx, claims)
        factor = (await factors.get_factor(tx, user.id, factor_id)).factor
        _check_usable(identity, factor)
        challenge = await factors.challenge_factor(tx, factor, client, identity.settings)
        await write_audit_entry(
            tx,
            "challenge_created",
            user,
            client,
            factor_id=factor.id,
            factor_status=factor.status,
        )
        return challenge


async def verify_factor(
    identity: Identity,
    claims: Claims,
    factor_id: UUID,
    challenge_id: UUID,
    code: str,
    client: Client,
) -> Tokens:
    """Answer a challenge: the session of `claims` goes on as one with two proofs.

    Raises FactorCodeWrong, which counts as an attempt, ChallengeNotFound, ChallengeUsed,
    ChallengeExpired, and what `challenge_factor` raises.
    """
    limits = identity.settings.limits
    await identity.limit_client(limits.factor, client)
    await identity.limit_subject(limits.factor_attempts, str(claims.subject))
    async with identity.users.transaction(SERVICE) as tx:
        user, session = await _lock_member(tx, claims)
        found = await factors.get_factor(tx, user.id, factor_id)
        _check_usable(identity, found.factor)
        await factors.check_challenge(tx, found.factor, challenge_id, client, identity.settings)
        step = _find_step(found, code)
        if step is not None:
            await refill(tx, limits.factor_attempts, str(user.id))
            await factors.accept_code(tx, found.factor, challenge_id, step)
            await write_audit_entry(
                tx,
                "verification_attempted",
                user,
                client,
                factor_id=found.factor.id,
                challenge_id=str(challenge_id),
                factor_type=found.factor.factor_type,
            )
            raised = await factors.raise_session(tx, user.id, session, found.factor)
            user = await get_active_user(tx, user.id)
            return await identity.render_tokens(tx, user, raised, Method.TOTP, client)
        await factors.count_failure(tx, challenge_id)
    # Raised out here, because the failed attempt has to be committed.
    raise FactorCodeWrong


async def unenroll_factor(
    identity: Identity, claims: Claims, factor_id: UUID, client: Client
) -> None:
    """Remove a factor of the user of `claims`.

    Raises FactorNotFound, RemovalNeedsSecondFactor for a verified factor in a session with one
    proof, and what `enroll_factor` raises for the user.
    """
    async with identity.users.transaction(SERVICE) as tx:
        user, session = await _lock_member(tx, claims)
        factor = (await factors.get_factor(tx, user.id, factor_id)).factor
        level, _ = await factors.find_level(tx, user.id, session)
        if factor.is_verified and level != AAL_TWO:
            raise RemovalNeedsSecondFactor
        await factors.delete_factor(tx, user.id, factor)
        await write_audit_entry(
            tx,
            "factor_unenrolled",
            user,
            client,
            factor_id=factor.id,
            factor_status=factor.status,
            session_id=str(session),
        )


async def _lock_member(tx: Transaction, claims: Claims) -> tuple[UserRow, SessionId]:
    """The user of `claims`, who waits for other changes of theirs, and the session."""
    user_id, session = await check_session(tx, claims)
    await lock_user(tx, user_id)
    # Once more: what we waited for may have signed the user out.
    await check_session(tx, claims)
    user = await get_active_user(tx, user_id)
    if user.is_anonymous:
        raise AnonymousRefused
    return user, session


def _find_step(found: FactorSecret, code: str) -> int | None:
    return find_step(found.secret, code, now().timestamp(), found.last_used_step)


def _check_enrolment(identity: Identity, wanted: Enrolment) -> None:
    try:
        kind = FactorType(wanted.factor_type)
    except ValueError:
        raise EnrolmentInvalid(reason="factor_type needs to be totp, phone, or webauthn") from None
    if kind is not FactorType.TOTP or not identity.settings.totp_enabled:
        raise FactorTypeDisabled(name=kind.value, label=kind.label)
    if len(wanted.friendly_name) > NAME_LENGTH_MAX or len(wanted.issuer) > ISSUER_LENGTH_MAX:
        raise EnrolmentInvalid(reason="friendly_name or issuer is too long")


def _check_usable(identity: Identity, factor: Factor) -> None:
    kind = FactorType(factor.factor_type)
    if kind is not FactorType.TOTP or not identity.settings.totp_enabled:
        raise FactorUseDisabled(name=kind.value, label=kind.label)
