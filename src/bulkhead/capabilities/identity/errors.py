"""What signing up, signing in and staying signed in can be refused for.

The codes are those of Supabase's Auth server where it has one; `gateway/auth/wire.py` says it in
its words.
"""

from bulkhead.engine.errors import (
    BulkheadError,
    ConfigurationInvalid,
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    Unauthenticated,
    Unavailable,
)

_ERRORS = range(400, 600)


class TokenInvalid(Unauthenticated):
    """The access token is not valid: {reason}."""

    code = "bad_jwt"
    hint = "Refresh the session, or sign in again."


class InvalidCredentials(BulkheadError):
    """E-mail address and password do not belong together."""

    code = "invalid_credentials"
    status = 400


class EmailNotConfirmed(BulkheadError):
    """The e-mail address has not been confirmed yet."""

    code = "email_not_confirmed"
    status = 400
    hint = "Follow the link in the confirmation mail, or have it sent again."


class PhoneNotConfirmed(BulkheadError):
    """The telephone number has not been confirmed yet."""

    code = "phone_not_confirmed"
    status = 400
    hint = "Enter the code of the message, or have it sent again."


class UserBanned(Forbidden):
    """This user is banned."""

    code = "user_banned"


class SignUpDisabled(BulkheadError):
    """Nobody can sign up here at the moment."""

    code = "signup_disabled"
    status = 422


class EmailDisabled(BulkheadError):
    """E-mail addresses are not used for {what} here."""

    code = "email_provider_disabled"
    status = 422


class PhoneDisabled(BulkheadError):
    """Telephone numbers are not used for {what} here."""

    code = "phone_provider_disabled"
    status = 400


class AnonymousDisabled(BulkheadError):
    """Nobody can sign in anonymously here."""

    code = "anonymous_provider_disabled"
    status = 422


class CodeSignUpDisabled(BulkheadError):
    """Nobody can sign up with a code alone here."""

    code = "otp_disabled"
    status = 422


class LinkingDisabled(NotFound):
    """Users do not choose how they sign in here."""

    code = "manual_linking_disabled"


class UserExists(Conflict):
    """There is a user with this e-mail address already."""

    code = "user_already_exists"
    status = 422


class EmailTaken(Conflict):
    """Another user has this e-mail address."""

    code = "email_exists"
    status = 422


class PhoneTaken(Conflict):
    """Another user has this telephone number."""

    code = "phone_exists"
    status = 422


class IdentityNotFound(BulkheadError):
    """This user does not sign in that way."""

    code = "identity_not_found"
    status = 422


class IdentityInUse(BulkheadError):
    """The address that would be left belongs to another user."""

    code = "email_conflict_identity_not_deletable"
    status = 422


class LastIdentity(BulkheadError):
    """This is the only way in which the user can sign in."""

    code = "single_identity_not_deletable"
    status = 422


class UserNotFound(NotFound):
    """There is no such user."""

    code = "user_not_found"


class EmailInvalid(Invalid):
    """The e-mail address is not valid: {reason}."""

    code = "email_address_invalid"
    status = 400


class PhoneInvalid(Invalid):
    """The telephone number is not valid: it must have the form of E.164."""

    code = "phone_invalid"
    status = 400


class PasswordWeak(Invalid):
    """The password is too weak ({reason})."""

    code = "weak_password"


class PasswordTooLong(Invalid):
    """A password has at most 72 bytes.

    That is the limit of bcrypt, which would ignore what follows.
    """

    code = "password_too_long"
    status = 400


class PasswordUnchanged(Invalid):
    """The new password is the old one."""

    code = "same_password"


class CurrentPasswordNeeded(Invalid):
    """The present password is needed to set another one."""

    code = "current_password_required"
    status = 400


class CurrentPasswordWrong(Invalid):
    """The present password is another one."""

    code = "current_password_invalid"
    status = 400


class ReauthenticationNeeded(Invalid):
    """A code that was just sent is needed to set another password."""

    code = "reauthentication_needed"
    status = 400
    hint = "Ask for one at /reauthenticate and send it as `nonce`."


class ReauthenticationInvalid(Invalid):
    """The code to set another password has expired, has been used or was never valid."""

    code = "reauthentication_not_valid"


class CodeInvalid(Forbidden):
    """The code or link has expired, has been used or was never valid."""

    code = "otp_expired"
    hint = "Ask for a new mail; only the latest one counts, for a limited time and a few attempts."


class FlowNotFound(NotFound):
    """No sign-in is under way that could end with this code."""

    code = "flow_state_not_found"


class FlowExpired(BulkheadError):
    """The sign-in took too long."""

    code = "flow_state_expired"
    status = 422
    hint = "Begin again."


class VerifierWrong(BulkheadError):
    """Somebody else began this sign-in: the verifier does not match the challenge."""

    code = "bad_code_verifier"
    status = 400


class SessionNotFound(Unauthenticated):
    """The session has ended."""

    code = "session_not_found"
    hint = "Sign in again."


class SessionExpired(BulkheadError):
    """The session has ended{why}."""

    code = "session_expired"
    status = 400
    hint = "Sign in again."


class RefreshTokenNotFound(BulkheadError):
    """There is no such refresh token."""

    code = "refresh_token_not_found"
    status = 400
    hint = "Sign in again."


class RefreshTokenReused(BulkheadError):
    """The refresh token had been used before, so the session was ended.

    Either its owner or somebody else holds a stolen copy; nobody can tell which.
    """

    code = "refresh_token_already_used"
    status = 400
    hint = "Sign in again."


class RateLimited(BulkheadError):
    """Too many requests; try again in {retry_after_s} s."""

    code = "over_request_rate_limit"
    status = 429
    retry_after_s = 60


class MailRateLimited(RateLimited):
    """Too many mails to this address; try again in {retry_after_s} s."""

    code = "over_email_send_rate_limit"


class SmsRateLimited(RateLimited):
    """Too many messages to this number; try again in {retry_after_s} s."""

    code = "over_sms_send_rate_limit"


class PasswordsOverloaded(Unavailable):
    """Too many passwords are being checked at the moment."""

    code = "passwords_overloaded"


class HookRefused(BulkheadError):
    """The application refuses the token: {reason}."""

    code = "hook_refused"

    @property
    def http_status(self) -> int:
        """What the application wants the answer to be."""
        wanted = self.details.get("http_code")
        return wanted if isinstance(wanted, int) and wanted in _ERRORS else self.status


class HookInvalid(BulkheadError):
    """The function '{function}' does not make claims of a token: {reason}."""

    code = "hook_invalid"
    hint = (
        "It must take jsonb and return jsonb with `claims`, which may add and change, but not "
        "who the token is for."
    )


class KeysInvalid(ConfigurationInvalid):
    """The file of signing keys {path} is not valid: {reason}."""

    code = "keys_invalid"
    hint = "Put the file back from a copy; a new one ends every session."


class KeyNotImportable(Invalid):
    """The signing key cannot be imported: {reason}."""

    code = "key_not_importable"
    hint = "It must be a private key, PEM or JWK, of the curve P-256 or RSA with 2048 to 4096 bits."


class KeyNotRevocable(Conflict):
    """Key '{kid}' cannot be revoked: {reason}."""

    code = "key_not_revocable"
