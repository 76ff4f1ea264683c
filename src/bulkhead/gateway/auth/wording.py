"""How clients know what second factors and administrators are refused for."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from bulkhead.capabilities.identity.administration import UserUnknown
from bulkhead.capabilities.identity.factors.model import (
    AnonymousRefused,
    ChallengeExpired,
    ChallengeNotFound,
    ChallengeUsed,
    EnrolmentInvalid,
    EnrolmentNeedsSecondFactor,
    FactorCodeWrong,
    FactorNameTaken,
    FactorNotFound,
    FactorsTooMany,
    FactorTypeDisabled,
    FactorUseDisabled,
    RemovalNeedsSecondFactor,
    SecondFactorRequired,
)
from bulkhead.capabilities.identity.invitations import AddressUnknown
from bulkhead.capabilities.identity.password_hashes import PasswordHashInvalid
from bulkhead.engine.errors import BulkheadError
from bulkhead.gateway.auth.errors import NotAdministrator


@dataclass(frozen=True, slots=True)
class Wording:
    """How clients know an error; None stands for what the error itself says.

    Words in braces are filled in with the details of the case.
    """

    text: str | None = None
    code: str | None = None
    status: int | None = None


FACTOR_WORDINGS: Mapping[type[BulkheadError], Wording] = MappingProxyType(
    {
        AnonymousRefused: Wording(
            "Anonymous user not allowed to perform these actions", code="no_authorization"
        ),
        ChallengeExpired: Wording(
            "MFA challenge {challenge} has expired, verify against another challenge or create "
            "a new challenge."
        ),
        ChallengeNotFound: Wording(
            "MFA factor with the provided challenge ID not found", code="mfa_factor_not_found"
        ),
        ChallengeUsed: Wording("Challenge and verify IP addresses mismatch."),
        EnrolmentInvalid: Wording("{reason}", code="validation_failed"),
        EnrolmentNeedsSecondFactor: Wording(
            "AAL2 required to enroll a new factor", code="insufficient_aal"
        ),
        FactorCodeWrong: Wording("Invalid TOTP code entered"),
        FactorNameTaken: Wording(
            'A factor with the friendly name "{name}" for this user already exists'
        ),
        FactorNotFound: Wording("Factor not found"),
        FactorsTooMany: Wording("Maximum number of verified factors reached, unenroll to continue"),
        FactorTypeDisabled: Wording(
            "MFA enroll is disabled for {label}", code="mfa_{name}_enroll_not_enabled"
        ),
        FactorUseDisabled: Wording(
            "MFA verification is disabled for {label}", code="mfa_{name}_verify_not_enabled"
        ),
        RemovalNeedsSecondFactor: Wording(
            "AAL2 required to unenroll verified factor", code="insufficient_aal"
        ),
        SecondFactorRequired: Wording(
            "AAL2 session is required to update email or password when MFA is enabled."
        ),
    }
)
ADMIN_WORDINGS: Mapping[type[BulkheadError], Wording] = MappingProxyType(
    {
        AddressUnknown: Wording("User with this email not found", code="user_not_found"),
        NotAdministrator: Wording("User not allowed", code="not_admin"),
        PasswordHashInvalid: Wording("Invalid password hash", code="validation_failed"),
        UserUnknown: Wording("User not found", code="user_not_found"),
    }
)
