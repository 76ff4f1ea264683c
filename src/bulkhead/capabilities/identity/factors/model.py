"""Second factors as values, and what using them can be refused for.

The codes are those of Supabase's Auth server where it has one.
"""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from uuid import UUID

from bulkhead.capabilities.identity.model import Factor
from bulkhead.engine.errors import BulkheadError, Forbidden, Invalid, NotFound

AAL_ONE, AAL_TWO = "aal1", "aal2"
"""How sure we are of who uses a session: proved once, or by a second factor, too."""


class FactorType(StrEnum):
    """What a factor is; the words of `auth.mfa_factors.factor_type`."""

    TOTP = "totp"
    PHONE = "phone"
    WEBAUTHN = "webauthn"

    @property
    def label(self) -> str:
        """What people call it."""
        return _LABELS[self]


_LABELS = {FactorType.TOTP: "TOTP", FactorType.PHONE: "Phone", FactorType.WEBAUTHN: "WebAuthn"}


@dataclass(frozen=True, slots=True)
class EnrolledFactor:
    """A factor that the user has yet to verify, and what an authenticator needs to know of it."""

    id: UUID
    friendly_name: str
    secret: str = field(repr=False)
    uri: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Challenge:
    """A question that a code of the factor answers, until `expires_at`."""

    id: UUID
    factor_type: str
    expires_at: dt.datetime


@dataclass(frozen=True, slots=True)
class FactorSecret:
    """A factor with what its codes are compared with."""

    factor: Factor
    secret: str = field(repr=False)
    last_used_step: int | None


def parse_factor(row: Mapping[str, Any]) -> Factor:
    """Read what the queries call a factor."""
    return Factor(**{name: row[name] for name in Factor.__dataclass_fields__})


class EnrolmentInvalid(Invalid):
    """The factor cannot be added like this: {reason}."""

    code = "enrolment_invalid"
    status = 400


class FactorTypeDisabled(BulkheadError):
    """Second factors of this kind cannot be added here: {name}."""

    code = "mfa_enroll_not_enabled"
    status = 422


class FactorUseDisabled(BulkheadError):
    """Second factors of this kind cannot be verified here: {name}."""

    code = "mfa_verify_not_enabled"
    status = 422


class FactorNotFound(NotFound):
    """The user has no such factor."""

    code = "mfa_factor_not_found"


class ChallengeNotFound(BulkheadError):
    """The factor has no such challenge."""

    code = "mfa_challenge_not_found"
    status = 422
    hint = "Ask for a challenge and answer it within a few minutes."


class ChallengeUsed(BulkheadError):
    """The challenge was answered before, or another client asked for it."""

    code = "mfa_ip_address_mismatch"
    status = 422
    hint = "Ask for another challenge and answer it from where it was asked for."


class ChallengeExpired(BulkheadError):
    """The challenge has expired, or too many wrong codes were tried."""

    code = "mfa_challenge_expired"
    status = 422
    hint = "Ask for another challenge."


class FactorCodeWrong(BulkheadError):
    """The code is not the one that the authenticator shows now, or it was used before."""

    code = "mfa_verification_failed"
    status = 422
    hint = "Wait for the next code. If it keeps failing, look whether the clocks agree."


class FactorNameTaken(BulkheadError):
    """The user has a factor called '{name}' already."""

    code = "mfa_factor_name_conflict"
    status = 422


class FactorsTooMany(BulkheadError):
    """The user has as many factors as are allowed."""

    code = "too_many_enrolled_mfa_factors"
    status = 422
    hint = "Remove one first."


class SecondFactorRequired(BulkheadError):
    """This needs a session in which a second factor was verified."""

    code = "insufficient_aal"
    status = 401
    hint = "Verify a factor of the user in this session, then try again."


class EnrolmentNeedsSecondFactor(Forbidden):
    """Whoever has a factor must verify it before adding another."""

    code = "second_factor_required_to_enroll"


class RemovalNeedsSecondFactor(BulkheadError):
    """A verified factor is removed only in a session in which a factor was verified."""

    code = "second_factor_required_to_remove"
    status = 422


class AnonymousRefused(Forbidden):
    """An anonymous user cannot do this."""

    code = "anonymous_user_refused"
    hint = "Give the user an e-mail address or a phone number first."
