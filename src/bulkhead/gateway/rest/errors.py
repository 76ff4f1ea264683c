"""What the REST API refuses, with PostgREST's codes, messages, details and hints.

Source: PostgREST v14, `PostgREST.Error`. The docstring is the message as everywhere; most of
PostgREST's have no full stop, so it is left out when they are sent.
"""

import json
from string import Formatter
from typing import Any, ClassVar

from bulkhead.engine.errors import BulkheadError

Header = tuple[bytes, bytes]


class RestError(BulkheadError):
    """The REST API refused the request."""

    detail: ClassVar[str] = ""
    """What `details` says, with placeholders; nothing is null."""
    ends_with_period: ClassVar[bool] = False
    """Whether PostgREST's message has a full stop at its end."""

    def __init__(self, *, details: Any = None, hint: str | None = None, **fields: object) -> None:  # noqa: ANN401 - any JSON value
        """Fill the placeholders with `fields`; `details` and `hint` replace those of the class."""
        self._details = details
        self._hint = hint
        super().__init__(**fields)

    @property
    def message(self) -> str:
        """The message as PostgREST writes it."""
        text = " ".join((type(self).__doc__ or "").split("\n\n")[0].split())
        return self._fill(text if self.ends_with_period else text.removesuffix("."))

    @property
    def advice(self) -> str:
        """The hint, or an empty string."""
        return self._hint if self._hint is not None else self._fill(self.hint)

    @property
    def wire_code(self) -> str:
        """The code as clients know it: `PGRST116`, `23505`."""
        return self.code.upper()

    @property
    def http_status(self) -> int:
        """The status to answer with."""
        return self.status

    @property
    def headers(self) -> tuple[Header, ...]:
        """What the answer has besides its media type and length."""
        # A function may raise any text as its code; a header takes printable ASCII only.
        code = self.wire_code if self.wire_code.isascii() and self.wire_code.isprintable() else ""
        found = [(b"proxy-status", b"PostgREST; error=" + code.encode())]
        if self.retry_after_s is not None:
            found.append((b"retry-after", b"%d" % self.retry_after_s))
        return (*found, *self.extra_headers())

    def extra_headers(self) -> tuple[Header, ...]:
        """Headers of this kind of error."""
        return ()

    def to_body(self) -> dict[str, Any]:
        """The error as clients read it, in PostgREST's order of keys."""
        details = self._details
        if details is None and self.detail:
            details = self._fill(self.detail)
        return {
            "code": self.wire_code,
            "details": details,
            "hint": self.advice or None,
            "message": self.message,
        }

    def render_body(self) -> bytes:
        """`to_body` as JSON, byte for byte as PostgREST writes it."""
        text = json.dumps(self.to_body(), ensure_ascii=False, separators=(",", ":"))
        return text.encode("utf-8", "replace")

    def _fill(self, text: str) -> str:
        # Not str.format: what clients sent may stand in `fields` and is never a template itself.
        return Formatter().vformat(text, (), self.details) if "{" in text else text


class DatabaseUnreachable(RestError):
    """Database connection error."""

    code = "pgrst000"
    status = 503
    ends_with_period = True
    retry_after_s = 1


class DatabaseClientFailed(RestError):
    """Database client error. Retrying the connection."""

    code = "pgrst001"
    status = 503
    ends_with_period = True
    retry_after_s = 1


class SchemaCacheMissing(RestError):
    """Could not query the database for the schema cache. Retrying."""

    code = "pgrst002"
    status = 503
    ends_with_period = True
    retry_after_s = 1


class PoolExhausted(RestError):
    """Timed out acquiring connection from connection pool."""

    code = "pgrst003"
    status = 504
    ends_with_period = True


class QueryInvalid(RestError):
    """{position}.

    The query string could not be parsed: what could not, and the line and column in it; `details`
    has what was found there and what was expected.
    """

    code = "pgrst100"
    status = 400


class CallMethodNotAllowed(RestError):
    """Cannot use the {method} method on RPC."""

    code = "pgrst101"
    status = 405


class BodyInvalid(RestError):
    """{reason}.

    The body of the request is not what its media type promises.
    """

    code = "pgrst102"
    status = 400


class RangeInvalid(RestError):
    """Requested range not satisfiable."""

    code = "pgrst103"
    status = 416


class UpsertFiltersInvalid(RestError):
    """Filters must include all and only primary key columns with 'eq' operators."""

    code = "pgrst105"
    status = 405


class SchemaNotExposed(RestError):
    """Invalid schema: {schema}."""

    code = "pgrst106"
    status = 406
    hint = "Only the following schemas are exposed: {exposed}"


class MediaTypeUnavailable(RestError):
    """None of these media types are available: {media_types}."""

    code = "pgrst107"
    status = 406


class NotEmbedded(RestError):
    """'{resource}' is not an embedded resource in this request."""

    code = "pgrst108"
    status = 400
    hint = "Verify that '{resource}' is included in the 'select' query parameter."


class GucHeadersInvalid(RestError):
    """response.headers guc must be a JSON array composed of objects with a single key and a string
    value.
    """  # noqa: D205

    code = "pgrst111"
    status = 500


class GucStatusInvalid(RestError):
    """response.status guc must be a valid status code."""

    code = "pgrst112"
    status = 500


class UpsertRangeRefused(RestError):
    """limit/offset querystring parameters are not allowed for PUT."""

    code = "pgrst114"
    status = 400


class UpsertKeyMismatch(RestError):
    """Payload values do not match URL in primary key column(s)."""

    code = "pgrst115"
    status = 400


class NotSingular(RestError):
    """Cannot coerce the result to a single JSON object."""

    code = "pgrst116"
    status = 406
    detail = "The result contains {count} rows"


class MethodUnsupported(RestError):
    """Unsupported HTTP method: {method}."""

    code = "pgrst117"
    status = 405


class RelatedOrderImpossible(RestError):
    """A related order on '{target}' is not possible."""

    code = "pgrst118"
    status = 400
    detail = "'{origin}' and '{target}' do not form a many-to-one or one-to-one relationship"


class RaisedJsonInvalid(RestError):
    """Could not parse JSON in the "RAISE SQLSTATE 'PGRST'" error."""

    code = "pgrst121"
    status = 500


class PreferencesInvalid(RestError):
    """Invalid preferences given with handling=strict."""

    code = "pgrst122"
    status = 400
    detail = "Invalid preferences: {preferences}"


class AggregatesNotAllowed(RestError):
    """Use of aggregate functions is not allowed."""

    code = "pgrst123"
    status = 400


class MaxAffectedExceeded(RestError):
    """Query result exceeds max-affected preference constraint."""

    code = "pgrst124"
    status = 400
    detail = "The query affects {count} rows"


class PathInvalid(RestError):
    """Invalid path specified in request URL."""

    code = "pgrst125"
    status = 404


class DescriptionDisabled(RestError):
    """Root endpoint metadata is disabled."""

    code = "pgrst126"
    status = 404


class FeatureNotImplemented(RestError):
    """Feature not implemented."""

    code = "pgrst127"
    status = 400


class MaxAffectedNeedsSet(RestError):
    """Function must return SETOF or TABLE when max-affected preference is used with
    handling=strict.
    """  # noqa: D205

    code = "pgrst128"
    status = 400


class JwtSecretMissing(RestError):
    """Server lacks JWT secret."""

    code = "pgrst300"
    status = 500


class JwtUndecodable(RestError):
    """{reason}.

    The token in the Authorization header is no token, or was not signed by whom we trust.
    """

    code = "pgrst301"
    status = 401

    def extra_headers(self) -> tuple[Header, ...]:
        """Say why the token was refused."""
        return (invalid_token(self.message),)


class JwtRequired(RestError):
    """Anonymous access is disabled."""

    code = "pgrst302"
    status = 401

    def extra_headers(self) -> tuple[Header, ...]:
        """Ask for a token."""
        return ((b"www-authenticate", b"Bearer"),)


class JwtClaimsInvalid(RestError):
    """{reason}.

    The token in the Authorization header is expired, not valid yet, or made for others.
    """

    code = "pgrst303"
    status = 401

    def extra_headers(self) -> tuple[Header, ...]:
        """Say why the token was refused."""
        return (invalid_token(self.message),)


def invalid_token(reason: str) -> Header:
    """The header that tells a client what is wrong with its token."""
    return (
        b"www-authenticate",
        b'Bearer error="invalid_token", error_description="%s"' % reason.encode(),
    )
