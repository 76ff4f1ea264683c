"""Which representation a request gets: the media type, and what makes it out of rows.

Source: PostgREST v14, `Plan/Negotiate.hs` and `MediaType.hs`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache

from bulkhead.gateway.rest.errors import MediaTypeUnavailable
from bulkhead.gateway.rest.schema import MediaHandler, Name

ANY = "*/*"
JSON = "application/json"
_PLAN = "application/vnd.pgrst.plan"
_OPTIONS = ("analyze", "verbose", "settings", "buffers", "wal")
_OBJECT_TYPES = frozenset({"application/vnd.pgrst.object+json", "application/vnd.pgrst.object"})
_ARRAY_TYPES = frozenset({"application/vnd.pgrst.array+json", "application/vnd.pgrst.array"})
_KNOWN_TYPES = frozenset(
    {
        JSON,
        "application/geo+json",
        "text/csv",
        "text/plain",
        "text/xml",
        "application/openapi+json",
        "application/x-www-form-urlencoded",
        "application/octet-stream",
        ANY,
    }
)
"""Those that are recognised whatever their parameters."""
_MEDIA_TYPE = re.compile(r"[A-Za-z0-9.*]+/[A-Za-z0-9.*+-]+")
_PARAMETER = re.compile(r"\s*;\s*([A-Za-z0-9-]+)\s*=\s*(?:\"([^\"]*)\"|([A-Za-z0-9|-]+))")


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
    is_aggregate: bool = True
    """Otherwise the function that is called makes the body itself."""


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


@dataclass(frozen=True, slots=True)
class MediaType:
    """A media type as a client names it."""

    name: str
    """Without parameters in the case of those we know."""
    is_stripped: bool = False
    """`nulls=stripped`."""
    explain: Explain | None = None
    """Then `name` is what would be answered without it."""

    @property
    def is_object(self) -> bool:
        """Whether one row is asked for."""
        return self.name in _OBJECT_TYPES

    @property
    def is_stripped_array(self) -> bool:
        """Whether a list without nulls is asked for."""
        return self.name in _ARRAY_TYPES

    def render(self) -> str:
        """The media type as an answer says it."""
        name = self.name
        if self.is_object or self.is_stripped_array:
            shape = "object" if self.is_object else "array"
            name = f"application/vnd.pgrst.{shape}+json" + (
                ";nulls=stripped" if self.is_stripped else ""
            )
        if self.explain is None:
            return name
        form = "json" if self.explain.is_json else "text"
        options = "; options=" + "|".join(self.explain.options) if self.explain.options else ""
        return f'{_PLAN}+{form}; for="{name}"{options}'

    def render_content_type(self) -> str:
        """The media type with its charset; bytes and types of the database's own have none."""
        is_text = (
            self.explain is not None
            or self.is_object
            or self.is_stripped_array
            or (self.name in _KNOWN_TYPES and self.name != "application/octet-stream")
        )
        return self.render() + ("; charset=utf-8" if is_text else "")


_BUILTINS: Mapping[str, tuple[BuiltinHandler, str]] = {
    ANY: (BuiltinHandler.JSON, JSON),
    JSON: (BuiltinHandler.JSON, JSON),
    "text/csv": (BuiltinHandler.CSV, "text/csv"),
    "application/geo+json": (BuiltinHandler.GEOJSON, "application/geo+json"),
}


@dataclass(frozen=True, slots=True)
class Offer:
    """What a resource can be answered as."""

    handlers: Mapping[tuple[Name | None, str], MediaHandler]
    target: Name
    """The table, or the function where it returns no table."""
    is_whole: bool
    """Whether all columns and nothing else are asked for, as the handlers of a table need."""
    allows_plan: bool

    def find(self, wanted: MediaType) -> Media | None:
        """The representation for one accepted media type."""
        if wanted.explain is not None and not self.allows_plan:
            return None
        if wanted.is_object:
            stripped = BuiltinHandler.OBJECT_STRIPPED
            handler = stripped if wanted.is_stripped else BuiltinHandler.OBJECT
            # An explained object may have any number of rows.
            is_single = wanted.explain is None
            return Media(handler, wanted.render_content_type(), is_single, wanted.explain)
        if wanted.is_stripped_array:
            handler = BuiltinHandler.ARRAY_STRIPPED
            return Media(handler, wanted.render_content_type(), explain=wanted.explain)
        found = self._look_up(wanted.name)
        if found is None:
            return None
        if wanted.explain is not None:
            return Media(found[0], wanted.render_content_type(), explain=wanted.explain)
        return Media(found[0], MediaType(found[1]).render_content_type())

    def _look_up(self, name: str) -> tuple[Handler, str] | None:
        keys: list[tuple[Name | None, str]] = [(None, name.lower())]
        if self.is_whole:
            keys = [(self.target, ANY), (self.target, name.lower()), *keys]
        for key in keys:
            custom = self.handlers.get(key)
            if custom is not None:
                return _custom(custom), custom.media_type
        return _BUILTINS.get(name)


def _custom(handler: MediaHandler) -> CustomHandler:
    return CustomHandler(handler.function, handler.target, handler.is_aggregate)


def negotiate(offer: Offer, accept: Sequence[str], *, has_body: bool) -> Media:
    """The representation for the first accepted media type that there is one for.

    `has_body` is false where no body is made. Raises PGRST107.
    """
    wanted = [parse_media_type(each) for each in accept]
    for each in wanted:
        found = offer.find(each)
        if found is not None:
            return found if has_body else replace(found, handler=BuiltinHandler.NONE)
    raise MediaTypeUnavailable(media_types=", ".join(each.render() for each in wanted))


@lru_cache(maxsize=256)
def parse_media_type(text: str) -> MediaType:
    """Read a media type as it stands in `Accept`."""
    matched = _MEDIA_TYPE.match(text)
    if matched is None:
        return MediaType(text)
    name = matched[0].lower()
    parameters = {
        key.lower(): quoted or bare for key, quoted, bare in _PARAMETER.findall(text, matched.end())
    }
    is_stripped = parameters.get("nulls") == "stripped"
    if name in (_PLAN, _PLAN + "+text", _PLAN + "+json"):
        chosen = parameters.get("options", "").split("|")
        options = tuple(each for each in _OPTIONS if each in chosen)
        shown = parse_media_type(parameters.get("for", JSON))
        return replace(shown, explain=Explain(name.endswith("+json"), options))
    if name in _OBJECT_TYPES:
        return MediaType(name, is_stripped)
    if name in _ARRAY_TYPES:
        return MediaType(name, is_stripped=True) if is_stripped else MediaType(JSON)
    return MediaType(name if name in _KNOWN_TYPES else text)
