"""A statement, and how its parameters are filled from a request.

The text belongs to the shape of a request and is shared by all requests of that shape; what differs
between them is in the binds alone. Every parameter is a text (or bytes, a number, a list of texts)
and is cast to its type in the statement.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from bulkhead.gateway.rest.query import WHOLE, Argument, EmbedPath, Slot, Value
from bulkhead.gateway.rest.request import ApiRequest
from bulkhead.gateway.rest.split import parse_list


@dataclass(frozen=True, slots=True)
class TextBind:
    """A value as it stands in the address."""

    value: Value

    def fill(self, request: ApiRequest) -> str:
        """The text to send."""
        return _text(self.value, request)


@dataclass(frozen=True, slots=True)
class PatternBind:
    """A pattern of `like` or `ilike`: `*` stands for `%`, which is awkward in addresses."""

    value: Value

    def fill(self, request: ApiRequest) -> str:
        """The pattern to send."""
        return _text(self.value, request).replace("*", "%")


@dataclass(frozen=True, slots=True)
class ListBind:
    """The values of `in.(...)`."""

    value: Value

    def fill(self, request: ApiRequest) -> list[str]:
        """The texts to send; `in.()` is no value rather than an empty text."""
        found = parse_list(_text(self.value, request))
        return [] if found == [""] else found


@dataclass(frozen=True, slots=True)
class LimitBind:
    """How many rows of an embedding at most."""

    path: EmbedPath
    max_rows: int | None

    def fill(self, request: ApiRequest) -> int | None:
        """The number to send; None is no limit."""
        limit = request.ranges.get(self.path, WHOLE).limit
        if limit is None or self.max_rows is None:
            return self.max_rows if limit is None else limit
        return min(limit, self.max_rows)


@dataclass(frozen=True, slots=True)
class OffsetBind:
    """From which row on."""

    path: EmbedPath

    def fill(self, request: ApiRequest) -> int:
        """The number to send."""
        return request.ranges.get(self.path, WHOLE).offset


@dataclass(frozen=True, slots=True)
class BodyBind:
    """The body of a write or a call as text."""

    def fill(self, request: ApiRequest) -> str | None:
        """The text to send."""
        return None if request.payload is None else request.payload.text


@dataclass(frozen=True, slots=True)
class BytesBind:
    """The body of a call as it came."""

    def fill(self, request: ApiRequest) -> bytes | None:
        """The bytes to send."""
        return None if request.payload is None else request.payload.raw


@dataclass(frozen=True, slots=True)
class FormBind:
    """A field of a form; of a repeated one the last."""

    name: str

    def fill(self, request: ApiRequest) -> str | None:
        """The text to send."""
        found = _form_values(self.name, request)
        return found[-1] if found else None


@dataclass(frozen=True, slots=True)
class FormListBind:
    """A repeated field of a form, for a variadic parameter."""

    name: str

    def fill(self, request: ApiRequest) -> list[str]:
        """The texts to send."""
        return _form_values(self.name, request)


@dataclass(frozen=True, slots=True)
class TextsBind:
    """A repeated argument of the address, for a variadic parameter."""

    values: tuple[Value, ...]

    def fill(self, request: ApiRequest) -> list[str]:
        """The texts to send."""
        return [_text(value, request) for value in self.values]


@dataclass(frozen=True, slots=True)
class ArgumentsBind:
    """All arguments as one JSON object, for a single unnamed parameter."""

    arguments: tuple[Argument, ...] = ()
    """Those of the address; a form has its own."""

    def fill(self, request: ApiRequest) -> str:
        """The JSON text to send."""
        found = {each.name: _text(each.value, request) for each in self.arguments}
        if request.payload is not None:
            found.update(request.payload.form)
        return json.dumps(found, ensure_ascii=False)


Bind = (
    TextBind
    | PatternBind
    | ListBind
    | LimitBind
    | OffsetBind
    | BodyBind
    | BytesBind
    | FormBind
    | FormListBind
    | TextsBind
    | ArgumentsBind
)


@dataclass(frozen=True, slots=True)
class Statement:
    """SQL whose `$1`, `$2`, ... are filled by `binds`.

    It has one row with the columns `total` (bigint, null unless counted), `page_total` (bigint),
    `body` (text, or bytea of a handler that makes bytes), `headers` and `status` (text or null,
    what the transaction set in `response.headers` and `response.status`), `inserted` (bigint, of
    an upsert) and `location` (text[], `column=eq.value`). When the plan is to be explained, it has
    rows of one column instead.
    """

    sql: str
    binds: tuple[Bind, ...] = ()
    explain_sql: str | None = None
    """For a planned or estimated count: `EXPLAIN (FORMAT JSON)` of all rows, without a limit."""
    explain_binds: tuple[Bind, ...] = ()
    releases_locks: bool = False
    """Whether it ends by releasing what advisory locks the session holds, as reads do: then
    `inserted` is null."""


def bind(statement: Statement, request: ApiRequest) -> list[object]:
    """The arguments of `statement` for this request."""
    return [each.fill(request) for each in statement.binds]


def bind_explain(statement: Statement, request: ApiRequest) -> list[object]:
    """The arguments of `statement.explain_sql` for this request."""
    return [each.fill(request) for each in statement.explain_binds]


def _text(value: Value, request: ApiRequest) -> str:
    return request.values[value.index] if isinstance(value, Slot) else value


def _form_values(name: str, request: ApiRequest) -> list[str]:
    form = request.payload.form if request.payload is not None else ()
    return [value for key, value in form if key == name]
