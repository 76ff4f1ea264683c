"""Which representation a request gets: the media type, and what makes it out of rows.

Source: PostgREST v14, `Plan/Negotiate.hs` and `MediaType.hs`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from bulkhead.gateway.rest.schema import Name


class BuiltinHandler(StrEnum):
    """What makes the body, when no function of the database does."""

    JSON = "json"
    ARRAY_STRIPPED = "array-stripped"
    OBJECT = "object"
    OBJECT_STRIPPED = "object-stripped"
    CSV = "csv"
    GEOJSON = "geojson"
    NONE = "none"
    """No body: HEAD, and writes whose rows are not asked for."""


@dataclass(frozen=True, slots=True)
class CustomHandler:
    """A function or an aggregate of the database."""

    function: Name
    target: Name | None
    """The table whose rows it takes; None if it takes any."""


Handler = BuiltinHandler | CustomHandler


@dataclass(frozen=True, slots=True)
class Explain:
    """`application/vnd.pgrst.plan`: how it would be done, instead of what comes out."""

    is_json: bool
    options: tuple[str, ...] = ()
    """Such as `analyze`."""


@dataclass(frozen=True, slots=True)
class Media:
    """The representation to answer with."""

    handler: Handler
    content_type: str
    """As the answer says it, with its charset."""
    is_single: bool = False
    """`application/vnd.pgrst.object+json`: refused (PGRST116) unless there is exactly one row."""
    explain: Explain | None = None
    """Then the rows of the statement are lines of text, each to be ended with a line feed."""
