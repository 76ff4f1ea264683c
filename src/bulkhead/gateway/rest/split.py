"""Takes a query string apart into its shape and its values.

`id=eq.5&or=(a.eq.1,b.is.null)&limit=3` has the shape `id=eq.&or=(a.eq.,b.is.null)&limit=` and the
values `5` and `1`. Two requests of one shape are parsed, planned and rendered as SQL once.

What is common is recognised by regular expressions; what they do not know is read by the grammar.
"""

import re
from collections.abc import Sequence
from enum import Enum
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import quote, unquote_plus

from bulkhead.gateway.rest.parse_fields import logic_path
from bulkhead.gateway.rest.parse_filters import (
    IS,
    OPERATOR,
    Head,
    group,
    head,
    list_of_values,
    match_head,
    rest_of_text,
    value_in_group,
)
from bulkhead.gateway.rest.query import Operator, Value
from bulkhead.gateway.rest.scanner import Scanner, scan

LOGIC_DEPTH_MAX = 50
"""Levels of `and` and `or` in each other."""

_CACHED_KEY_MAX = 128
_CACHED_QUERY_MAX = 512
"""Longer ones are taken apart each time: what is remembered must be bounded."""

_SEPARATOR = re.compile("[&;]")
# Atomic throughout, so that nothing is read twice. A quote that does not end with its element is an
# ordinary character.
_QUOTED = r'"((?:[^"\\]|\\.)*+)"(?=[,)])'
_LIST = re.compile(rf"[ \t]*\([ \t]*(?>(?>{_QUOTED}|[^,)]*+),)*+(?>{_QUOTED}|[^,)]*+)\)", re.DOTALL)
_NEXT_ELEMENT = re.compile(rf"(?>{_QUOTED}|([^,)]*+))([,)])", re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
# A condition in a group whose value, or quoted value, or list, has nothing unusual in it.
_MEMBER = re.compile(
    rf"[A-Za-z_][A-Za-z0-9_]*\.(?:not\.)?"
    rf'(?:{OPERATOR}\.([^,()"{{}}]*|"[^"\\]*"|\{{[^{{}}]*\}})|in\.(\([^"()]*\))|{IS})(?=[,)])'
)
_OPENING = re.compile(r"(?:not\.)?(?:and|or)\(")
_CLOSING = re.compile(r"\)*")
_NUMBER = re.compile(r"\s*(-?[0-9]{1,30})\s*")
# What may begin a condition without being one: anything else is an argument of a function.
_NEARLY = ("not.", "in.", "is.")
_UNRESERVED = re.compile(r"[A-Za-z0-9_.~-]*")
_SAFE_IN_SHAPES = "(),.:*!->\"'{}$@/ "


class Kind(Enum):
    """What a key of the query string is about."""

    TEXT = "text"
    """`select`, `order`, `columns`, `on_conflict`: shape through and through."""
    FILTER = "filter"
    LOGIC = "logic"
    RANGE = "range"


class Split(NamedTuple):
    """A query string taken apart."""

    shape: str
    """Pieces as in a query string, percent-encoded where needed."""
    values: tuple[str, ...]
    ranges: tuple[tuple[str, int], ...]
    """Keys such as `limit` and `orders.offset`, with their numbers."""


def split_query(raw: bytes, *, is_call_read: bool) -> Split:
    """Take a query string apart; raises QueryInvalid for what is neither filter nor argument."""
    split = _split_cached if len(raw) <= _CACHED_QUERY_MAX else _split
    return split(raw, is_call_read=is_call_read)


@lru_cache(maxsize=2048)
def _split_cached(raw: bytes, *, is_call_read: bool) -> Split:
    return _split(raw, is_call_read=is_call_read)


def _split(raw: bytes, *, is_call_read: bool) -> Split:
    pieces: list[str] = []
    values: list[str] = []
    ranges: list[tuple[str, int]] = []
    text = raw.decode("utf-8", "replace")
    for piece in _SEPARATOR.split(text) if ";" in text else text.split("&"):
        raw_key, equals, raw_value = piece.partition("=")
        if not equals:
            continue
        kind = _kind_of(raw_key) if len(raw_key) <= _CACHED_KEY_MAX else kind_of(_decode(raw_key))
        if kind is Kind.TEXT:
            pieces.append(piece)
            continue
        value = _decode(raw_value)
        if kind is Kind.FILTER:
            pieces.append(f"{raw_key}={_split_filter(value, values, is_call_read=is_call_read)}")
        elif kind is Kind.LOGIC:
            pieces.append(f"{raw_key}={_split_logic(_decode(raw_key), value, values)}")
        elif number := _NUMBER.fullmatch(value):
            pieces.append(f"{raw_key}=")
            ranges.append((_decode(raw_key), int(number[1])))
    return Split("&".join(pieces), tuple(values), tuple(ranges))


def render_canonical(raw: bytes) -> str:
    """The query string sorted by keys and encoded anew; the values of a key are one list."""
    return (_render_cached if len(raw) <= _CACHED_QUERY_MAX else _render)(raw)


@lru_cache(maxsize=2048)
def _render_cached(raw: bytes) -> str:
    return _render(raw)


def _render(raw: bytes) -> str:
    found: dict[str, str] = {}
    for piece in _SEPARATOR.split(raw.decode("utf-8", "replace")):
        if piece:
            raw_key, _, raw_value = piece.partition("=")
            key, value = _decode(raw_key), _quote(_decode(raw_value))
            found[key] = f"{found[key]},{value}" if key in found else value
    return "&".join([f"{_quote(key)}={found[key]}" for key in sorted(found)])


def kind_of(key: str) -> Kind:
    """What a decoded key is about."""
    if key in ("select", "columns", "on_conflict"):
        return Kind.TEXT
    match key.rpartition(".")[2]:
        case "order":
            return Kind.TEXT
        case "and" | "or":
            return Kind.LOGIC
        case "limit" | "offset":
            return Kind.RANGE
    return Kind.FILTER


def parse_list(text: str) -> list[str]:
    """The elements of `(a,b,"c,d")`; raises QueryInvalid."""
    if not _LIST.match(text):
        return scan(list_of_values, text, f"filter (in.{text})", depth_max=0)
    inner = text[text.index("(") + 1 :].lstrip(" \t")
    if '"' not in inner:
        return inner[: inner.index(")")].split(",")
    elements = []
    for found in _NEXT_ELEMENT.finditer(inner):
        quoted, plain, end = found.groups()
        elements.append(plain if quoted is None else _unescape(quoted))
        if end == ")":
            break
    return elements


@lru_cache(maxsize=4096)
def _kind_of(raw_key: str) -> Kind:
    return kind_of(_decode(raw_key))


def _decode(text: str) -> str:
    return unquote_plus(text) if "%" in text or "+" in text else text


def _quote(text: str) -> str:
    return text if _UNRESERVED.fullmatch(text) else quote(text, safe="-_.~")


def _encode(text: str) -> str:
    return quote(text, safe=_SAFE_IN_SHAPES)


def _unescape(text: str) -> str:
    return _ESCAPED.sub(r"\1", text) if "\\" in text else text


def _split_filter(value: str, values: list[str], *, is_call_read: bool) -> str:
    found = match_head(value)
    if found:
        return _split_after(*found, value, values)
    if is_call_read and not value.startswith(_NEARLY):
        values.append(value)
        return ""
    rest = scan(_unlisted, value, f"filter ({value})", depth_max=0)
    values.append(rest)
    return _encode(value.removesuffix(rest))


def _split_after(found: Head, end: int, value: str, values: list[str]) -> str:
    if found.operator is Operator.IS:
        return value[:end]
    rest = value[end:]
    if found.operator is Operator.IN and not _LIST.match(rest):
        scan(_listed, value, f"filter ({value})", depth_max=0)
    values.append(rest)
    return value[:end]


def _listed(s: Scanner) -> list[str]:
    head(s)
    return list_of_values(s)


def _unlisted(s: Scanner) -> str:
    found = head(s)
    assert found.operator not in (Operator.IN, Operator.IS), "these are recognised before"
    return rest_of_text(s)


def _split_logic(key: str, value: str, values: list[str]) -> str:
    spans = _find_spans(value)
    if spans is None:
        return _split_logic_by_grammar(key, value, values)
    parts = []
    end = 0
    for start, stop in spans:
        parts.append(value[end:start])
        values.append(value[start:stop].strip('"'))
        end = stop
    parts.append(value[end:])
    return "".join(parts)


def _find_spans(value: str) -> Sequence[tuple[int, int]] | None:
    """Where the values are; None when the group is not one of the simple ones."""
    if not value.startswith("("):
        return None
    spans = []
    at, depth, length = 1, 1, len(value)
    while depth <= LOGIC_DEPTH_MAX:
        opening = _OPENING.match(value, at)
        if opening:
            depth += 1
            at = opening.end()
            continue
        member = _MEMBER.match(value, at)
        if not member:
            return None
        if member.lastindex:
            spans.append(member.span(member.lastindex))
        closing = _CLOSING.match(value, member.end())
        assert closing, "it matches nothing at the least"
        at = closing.end()
        depth -= at - closing.start()
        if depth <= 0:
            return spans if depth == 0 and at == length else None
        if not value.startswith(",", at):
            return None
        at += 1
    return None


class _Spans:
    """Notes the values of a group and where they stand."""

    def __init__(self) -> None:
        self.found: list[tuple[int, int, str]] = []

    def single(self, s: Scanner) -> Value:
        start = s.at
        text = value_in_group(s)
        self.found.append((start, s.at, text))
        return text

    def listed(self, s: Scanner) -> Value:
        start = s.at
        list_of_values(s)
        text = s.text[start : s.at]
        self.found.append((start, s.at, text))
        return text


def _split_logic_by_grammar(key: str, value: str, values: list[str]) -> str:
    _, connective = scan(logic_path, key, f"logic path ({key})", depth_max=0)
    spans = _Spans()
    text = connective + value
    end_of_group: list[int] = []

    def whole(s: Scanner) -> None:
        group(s, spans)
        end_of_group.append(s.at)

    scan(whole, text, f"logic tree ({value})", depth_max=LOGIC_DEPTH_MAX)
    parts = []
    end = len(connective)
    for start, stop, found in spans.found:
        parts.append(text[end:start])
        values.append(found)
        end = stop
    parts.append(text[end : end_of_group[0]])
    return _encode("".join(parts))
