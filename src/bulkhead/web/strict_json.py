"""JSON that means one thing only: what the standard leaves open is refused.

Python's own parser takes NaN, lets 1e400 become infinity and the last of two equal keys win, and
passes on NUL and lone surrogates that no database can store. Source: RFC 8259, RFC 7493 (I-JSON).
"""

import json
import math
from collections.abc import Iterator

from bulkhead.engine.errors import Invalid

DEPTH_MAX = 64


class JsonInvalid(Invalid):
    """The body is not valid JSON: {reason}."""

    code = "json_invalid"
    status = 400


class JsonDuplicateKey(Invalid):
    """An object of the body has the key '{key}' twice."""

    code = "json_duplicate_key"
    status = 400


class JsonTooDeep(Invalid):
    """The body nests arrays and objects deeper than {depth_max} levels."""

    code = "json_too_deep"
    status = 400


class JsonNumberUnusable(Invalid):
    """The body has the number {number}, which no column can hold."""

    code = "json_number_unusable"
    status = 400


class JsonTextUnusable(Invalid):
    """The body has text with {what}, which no column can hold."""

    code = "json_text_unusable"
    status = 400


def verify_json(body: bytes) -> None:
    """Pass when `body` is one JSON value in UTF-8 that has one meaning.

    Raises JsonInvalid, JsonDuplicateKey, JsonTooDeep, JsonNumberUnusable or JsonTextUnusable.
    """
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise JsonInvalid(reason=f"byte {error.start} is not UTF-8") from None
    try:
        value = _DECODER.decode(text)
    except RecursionError:
        raise JsonTooDeep(depth_max=DEPTH_MAX) from None
    except json.JSONDecodeError as error:
        reason = f"{error.msg}, line {error.lineno}, column {error.colno}"
        raise JsonInvalid(reason=reason) from None
    except ValueError:
        # Python converts no integer of more than 4300 digits.
        raise JsonNumberUnusable(number="of thousands of digits") from None
    if body.count(b"[") + body.count(b"{") > DEPTH_MAX:
        _verify_depth(value)
    if b"\\u" in body:
        # Only an escape can smuggle in what strict UTF-8 and the parser refuse.
        _verify_text(value)


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise JsonDuplicateKey(key=_printable(twice))
    return found


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise JsonNumberUnusable(number=text[:40])
    return number


def _constant(text: str) -> None:
    raise JsonNumberUnusable(number=text)


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_float=_finite, parse_constant=_constant
)


def _verify_depth(value: object) -> None:
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(DEPTH_MAX):
        level = [
            child
            for container in level
            for child in (container.values() if isinstance(container, dict) else container)
            if isinstance(child, dict | list)
        ]
        if not level:
            return
    raise JsonTooDeep(depth_max=DEPTH_MAX)


def _verify_text(value: object) -> None:
    for text in _texts(value):
        if "\0" in text:
            raise JsonTextUnusable(what="a NUL character")
        if not text.isascii():
            try:
                text.encode()
            except UnicodeEncodeError:
                raise JsonTextUnusable(what="half a surrogate pair") from None


def _texts(value: object) -> Iterator[str]:
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, dict):
            yield from item
            waiting += item.values()
        elif isinstance(item, list):
            waiting += item


def _printable(text: str) -> str:
    return text[:80].encode("ascii", "backslashreplace").decode()
