"""What the API refuses before any use case runs."""

from bulkhead.engine.errors import Forbidden, Invalid, NotFound


class PathUnknown(NotFound):
    """There is nothing at {path}."""

    code = "path_not_found"


class MethodUnsupported(Invalid):
    """{path} does not take {method}."""

    code = "method_not_allowed"
    status = 405


class BodyTooLarge(Invalid):
    """The body is larger than {size_bytes_max} bytes."""

    code = "request_body_too_large"
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


class AdminOnly(Forbidden):
    """Only the application may change this."""

    code = "not_admin"
