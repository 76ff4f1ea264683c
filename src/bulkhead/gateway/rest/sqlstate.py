"""What the database refuses, as PostgREST tells it: by SQLSTATE. Source: `PostgREST.Error`.

Functions choose their answer themselves with `raise sqlstate 'PT402'` (the status) or
`raise sqlstate 'PGRST'` with JSON in the message and the detail (status, body and headers).
"""

import json
from typing import Any

from bulkhead.gateway.rest.errors import Header, RaisedJsonInvalid, RestError

_UNAUTHORIZED = 401
_FORBIDDEN = 403
_UNAVAILABLE = 503
_STATUSES = range(200, 1000)

_EXACT = {
    "23503": 409,  # a foreign key is violated
    "23505": 409,  # a unique key is violated
    "25006": 405,  # the transaction is read-only
    "42P01": 404,  # the table is undefined
    "42P17": 500,  # a policy recurs for ever
    "53400": 500,  # a configured limit is exceeded
    "57P01": _UNAVAILABLE,  # the server shuts down
    "P0001": 400,  # `raise exception` without a code
}
_BY_CLASS = {
    "08": _UNAVAILABLE,
    "09": 500,
    "0L": _FORBIDDEN,
    "0P": _FORBIDDEN,
    "25": 500,
    "28": _FORBIDDEN,
    "2D": 500,
    "38": 500,
    "39": 500,
    "3B": 500,
    "40": 500,
    "53": _UNAVAILABLE,
    "54": 500,
    "55": 500,
    "57": 500,
    "58": 500,
    "F0": 500,
    "HV": 500,
    "P0": 500,
    "XX": 500,
}
_OTHERWISE = 400

_MESSAGE_HINT = (
    "MESSAGE must be a JSON object with obligatory keys: 'code', 'message' "
    "and optional keys: 'details', 'hint'."
)
_DETAIL_HINT = (
    "DETAIL must be a JSON object with obligatory keys: 'status', 'headers' "
    "and optional key: 'status_text'."
)


class DatabaseRefused(RestError):
    """{text}.

    The database refused the statement; clients are told its SQLSTATE in place of this code.
    """

    code = "rest_database_refused"
    status = 400
    ends_with_period = True

    def __init__(
        self,
        sqlstate: str,
        text: str,
        *,
        status: int,
        details: str | None = None,
        hint: str | None = None,
        headers: tuple[Header, ...] = (),
    ) -> None:
        """Keep what the database said; `headers` are sent besides the usual ones."""
        self._sqlstate = sqlstate
        self._text = text
        self._status = status
        self._headers = headers
        super().__init__(details=details, hint=hint or "")

    @property
    def message(self) -> str:
        """The message of the database."""
        return self._text

    @property
    def wire_code(self) -> str:
        """The SQLSTATE, or the code that was raised."""
        return self._sqlstate

    @property
    def http_status(self) -> int:
        """The status that goes with the SQLSTATE."""
        return self._status

    def extra_headers(self) -> tuple[Header, ...]:
        """What was raised, how to sign in, or when to try again."""
        return self._headers


def from_postgres(
    sqlstate: str, message: str, detail: str | None, hint: str | None, *, is_anonymous: bool
) -> RestError:
    """The answer to an error of the database; `is_anonymous` if no valid token was sent."""
    if sqlstate == "PGRST":
        return _from_raised(message, detail)
    status = status_of(sqlstate, message, is_anonymous=is_anonymous)
    headers: tuple[Header, ...] = ()
    if status == _UNAUTHORIZED:
        headers = ((b"www-authenticate", b"Bearer"),)
    if status == _UNAVAILABLE:
        headers = ((b"retry-after", b"1"),)
    return DatabaseRefused(
        sqlstate, message, status=status, details=detail, hint=hint, headers=headers
    )


def status_of(sqlstate: str, message: str, *, is_anonymous: bool) -> int:
    """The HTTP status for a SQLSTATE other than `PGRST`."""
    if sqlstate.startswith("PT"):
        return _raised_status(sqlstate[2:])
    match sqlstate:
        case "21000":  # an unguarded UPDATE is the client's fault, a subquery of two rows is not
            return 400 if message.endswith("requires a WHERE clause") else 500
        case "22023":
            is_role = message.startswith("role") and message.endswith("does not exist")
            return _UNAUTHORIZED if is_role else 400
        case "42883":
            return 406 if message.startswith("function xmlagg(") else 404
        case "42501":
            return _UNAUTHORIZED if is_anonymous else _FORBIDDEN
    return _EXACT.get(sqlstate) or _BY_CLASS.get(sqlstate[:2], _OTHERWISE)


def _raised_status(digits: str) -> int:
    if digits.isascii() and digits.isdigit() and int(digits) in _STATUSES:
        return int(digits)
    return 500


def _from_raised(message: str, detail: str | None) -> RestError:
    body = _load_object(message)
    if body is None or not _is_body(body):
        return RaisedJsonInvalid(
            details=f"Invalid JSON value for MESSAGE: '{message}'", hint=_MESSAGE_HINT
        )
    if detail is None:
        return RaisedJsonInvalid(
            details="DETAIL is missing in the RAISE statement", hint=_DETAIL_HINT
        )
    answer = _load_object(detail)
    if answer is None or not _is_answer(answer):
        return RaisedJsonInvalid(
            details=f"Invalid JSON value for DETAIL: '{detail}'", hint=_DETAIL_HINT
        )
    return DatabaseRefused(
        body["code"],
        body["message"],
        status=int(answer["status"]),
        details=body.get("details"),
        hint=body.get("hint"),
        headers=tuple(
            (name.lower().encode(), value.encode())
            for name, value in sorted(answer["headers"].items())
        ),
    )


def _load_object(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _is_body(body: dict[str, Any]) -> bool:
    return all(isinstance(body.get(key), str) for key in ("code", "message")) and all(
        isinstance(body.get(key), str | None) for key in ("details", "hint")
    )


def _is_answer(answer: dict[str, Any]) -> bool:
    status, headers = answer.get("status"), answer.get("headers")
    return (
        (type(status) is int or (type(status) is float and status.is_integer()))
        and int(status) in _STATUSES
        and isinstance(answer.get("status_text"), str | None)
        and isinstance(headers, dict)
        and all(_is_header(name, value) for name, value in headers.items())
    )


def _is_header(name: str, value: object) -> bool:
    return (
        isinstance(value, str)
        and name.isascii()
        and name.isprintable()
        and not any(mark in value for mark in "\r\n\0")
    )
