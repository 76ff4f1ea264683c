"""What the API refuses before any use case runs."""

from bulkhead.engine.errors import BulkheadError, Forbidden, Invalid, NotFound


class PathUnknown(NotFound):
    """There is nothing at {path}."""

    code = "path_not_found"


class MethodUnsupported(Invalid):
    """{path} does not take {method}."""

    code = "method_unsupported"
    status = 405


class BodyTooLarge(Invalid):
    """The body is larger than {size_bytes_max} bytes."""

    code = "request_entity_too_large"
    status = 413


class BodyInvalid(Invalid):
    """The body of the request cannot be read: {reason}."""

    code = "bad_json"
    status = 400


class RequestInvalid(Invalid):
    """{reason}."""

    code = "validation_failed"
    status = 400


class NameInvalid(NotFound):
    """{name} must be a UUID."""

    code = "path_name_invalid"


class GrantUnsupported(RequestInvalid):
    """There is no such grant type."""

    code = "unsupported_grant_type"


class GrantDisabled(BulkheadError):
    """Tokens of others are not exchanged for ours here ({grant})."""

    code = "provider_disabled"
    status = 422


class ProviderDisabled(BulkheadError):
    """Nobody signs in here through another site ({provider})."""

    code = "oauth_provider_not_supported"
    status = 400


class SsoDisabled(NotFound):
    """Nobody signs in here through an organisation."""

    code = "saml_provider_disabled"


class PasskeysDisabled(NotFound):
    """Nobody signs in here with a passkey."""

    code = "passkey_disabled"


class AdminOnly(Forbidden):
    """Only the application may change this."""

    code = "not_admin"


class NotAdministrator(Forbidden):
    """Only the application itself may do this, with its service key."""

    code = "not_administrator"
