"""The root of the error tree: every failure has a stable code, an HTTP status and a hint.

The docstring of an error class is its message, so that a code, its text and its meaning stand in
one place. Errors live beside what raises them and derive from one of the classes below.
"""

from typing import ClassVar


class BulkheadError(Exception):
    """Something went wrong."""

    code: ClassVar[str] = "internal_error"
    status: ClassVar[int] = 500
    hint: ClassVar[str] = ""
    retry_after_s: ClassVar[int | None] = None

    def __init__(self, **details: object) -> None:
        """Keep `details`; they fill the placeholders of the docstring and of the hint."""
        self.details = details
        super().__init__(self.message)

    @property
    def message(self) -> str:
        """The first paragraph of the class docstring with the details filled in."""
        text = " ".join((type(self).__doc__ or self.code).split("\n\n")[0].split())
        return _fill(text, self.details)

    @property
    def advice(self) -> str:
        """What to do next, or an empty string."""
        return _fill(self.hint, self.details)

    def to_json(self) -> dict[str, object]:
        """The error as a value: `code`, `message`, `hint` and `details`, all JSON-able."""
        return {
            "code": self.code,
            "message": self.message,
            "hint": self.advice,
            "details": {key: _plain(value) for key, value in self.details.items()},
        }


class Invalid(BulkheadError):
    """The input is not acceptable: {reason}."""

    code = "invalid"
    status = 422


class Unauthenticated(BulkheadError):
    """This needs a signed-in user."""

    code = "unauthenticated"
    status = 401
    hint = "Sign in and send the access token as 'Authorization: Bearer <token>'."


class Forbidden(BulkheadError):
    """This is not allowed for the signed-in user."""

    code = "forbidden"
    status = 403


class NotFound(BulkheadError):
    """{what} was not found."""

    code = "not_found"
    status = 404


class Conflict(BulkheadError):
    """The request conflicts with the present state: {reason}."""

    code = "conflict"
    status = 409


class Unavailable(BulkheadError):
    """{what} is not available at the moment."""

    code = "unavailable"
    status = 503
    retry_after_s = 1


class TopologyInvalid(BulkheadError):
    """The topology of application '{application}' is not valid: {reason}."""

    code = "topology_invalid"


class ConfigurationInvalid(BulkheadError):
    """The configuration is not valid: {reason}."""

    code = "configuration_invalid"


def _fill(text: str, details: dict[str, object]) -> str:
    try:
        return text.format(**details)
    except (KeyError, IndexError, ValueError):
        return text


def _plain(value: object) -> object:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    return str(value)
