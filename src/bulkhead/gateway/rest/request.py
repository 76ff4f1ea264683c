"""A request as a value: what is asked of which resource, with which preferences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from bulkhead.gateway.rest.query import Query, Ranges
from bulkhead.gateway.rest.schema import Name
from bulkhead.gateway.rest.split import render_canonical


class Action(StrEnum):
    """What is to be done."""

    READ = "read"
    CREATE = "create"
    UPDATE = "update"
    UPSERT = "upsert"
    """PUT: one row, by its primary key."""
    DELETE = "delete"
    CALL = "call"
    """POST /rpc/f."""
    CALL_READ = "call_read"
    """GET or HEAD /rpc/f: stable and immutable functions only."""
    DESCRIBE = "describe"
    """GET or HEAD /."""
    OPTIONS = "options"
    """OPTIONS of a table, a function or the root."""


class Return(StrEnum):
    """`Prefer: return=`."""

    MINIMAL = "minimal"
    HEADERS_ONLY = "headers-only"
    REPRESENTATION = "representation"


class Count(StrEnum):
    """`Prefer: count=`."""

    EXACT = "exact"
    PLANNED = "planned"
    ESTIMATED = "estimated"


class Resolution(StrEnum):
    """`Prefer: resolution=`."""

    MERGE = "merge-duplicates"
    IGNORE = "ignore-duplicates"


@dataclass(frozen=True, slots=True)
class Preferences:
    """The `Prefer` header; None is "not said"."""

    returning: Return | None = None
    count: Count | None = None
    resolution: Resolution | None = None
    missing_default: bool | None = None
    """`missing=default` is True, `missing=null` False."""
    transaction: str | None = None
    """`commit` or `rollback`."""
    handling: str | None = None
    """`strict` or `lenient`."""
    timezone: str | None = None
    max_affected: int | None = None
    invalid: tuple[str, ...] = ()
    """What was not understood; refused (PGRST122) when handling is strict."""


class PayloadKind(StrEnum):
    """What a body holds."""

    JSON = "json"
    """One object or a list of objects with the same keys."""
    RAW_JSON = "raw_json"
    """JSON for `columns=` or a function with one json parameter: not looked into."""
    TEXT = "text"
    BYTES = "bytes"
    FORM = "form"


@dataclass(frozen=True, slots=True)
class Payload:
    """The body of a write or a call, ready to be bound."""

    kind: PayloadKind
    text: str = ""
    """JSON as it came (CSV and forms turned into JSON), or text."""
    raw: bytes = b""
    keys: frozenset[str] = frozenset()
    """The keys of the objects; the columns that are written."""
    is_empty_list: bool = False
    """Whether it is `[]`, or `[{}]`-like nothing."""
    form: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True)
class ApiRequest:
    """A request that was understood, though not yet looked up in the schema.

    Nobody changes one. It is not frozen, since a frozen one of so many fields takes three times as
    long to make, for every request.
    """

    method: str
    path: str
    """As PostgREST's `request.path` has it: `/orders`, `/rpc/f`."""
    action: Action
    schema: str
    """Chosen by Accept-Profile or Content-Profile, else the first one."""
    resource: str
    """The table's or function's name; empty for the root."""
    is_function: bool
    query: Query
    values: tuple[str, ...]
    """What the `Slot`s of `query` stand for."""
    ranges: Ranges
    """By embedding; `()` has the `Range` header taken into account."""
    preferences: Preferences
    accept: tuple[str, ...]
    """Media types in order of preference, parameters kept: `application/vnd.pgrst.object+json`."""
    content_type: str
    payload: Payload | None
    columns: frozenset[str]
    """What a write sets: `columns=` or the keys of the payload."""
    headers: tuple[tuple[str, str], ...] = ()
    """Lower-case names, without cookies."""
    cookies: Mapping[str, str] = field(default_factory=dict)
    has_profile: bool = False
    """Whether a profile header chose the schema; then the answer names it in Content-Profile."""
    headers_only: bool = False
    """HEAD."""
    shape: str = ""
    """The query string with its values taken out, in its order; the key of caches."""
    raw_query: bytes = b""
    """The query string as it came."""

    @property
    def canonical_query(self) -> str:
        """Sorted and re-encoded, as Content-Location and Location show it."""
        return render_canonical(self.raw_query)

    @property
    def target(self) -> Name:
        """The resource's qualified name."""
        return Name(self.schema, self.resource)
