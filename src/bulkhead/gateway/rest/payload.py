"""The body of a write or a call, by its media type. Source: PostgREST, `ApiRequest.Payload`."""

import json
from typing import Any, NoReturn
from urllib.parse import unquote_plus

from bulkhead.gateway.rest.csv_table import csv_to_json
from bulkhead.gateway.rest.errors import BodyInvalid
from bulkhead.gateway.rest.request import Payload, PayloadKind

NOT_JSON = "Empty or invalid json"
UNLIKE_KEYS = "All object keys must match"

EMPTY_LIST = Payload(PayloadKind.JSON, "[]", b"[]", is_empty_list=True)


def parse_payload(body: bytes, content_type: str, *, is_call: bool, has_columns: bool) -> Payload:
    """Read a body; with `columns=` its JSON is not looked into. Raises BodyInvalid."""
    match content_type:
        case "application/json":
            return _parse_json(body, is_call=is_call, has_columns=has_columns)
        case "text/csv":
            text, keys = csv_to_json(_decode(body))
            return Payload(PayloadKind.JSON, text, keys=keys) if keys else EMPTY_LIST
        case "application/x-www-form-urlencoded":
            return _parse_form(body, is_call=is_call)
        case "text/plain" | "text/xml" if is_call:
            return Payload(PayloadKind.TEXT, _decode(body), body)
        case "application/octet-stream" if is_call:
            return Payload(PayloadKind.BYTES, raw=body)
    raise BodyInvalid(reason=f"Content-Type not acceptable: {content_type}")


def _parse_json(body: bytes, *, is_call: bool, has_columns: bool) -> Payload:
    if has_columns:
        return Payload(PayloadKind.RAW_JSON, _decode(body), body)
    if is_call and not body:
        return Payload(PayloadKind.JSON)
    text = _decode(body)
    value = _load(text)
    if isinstance(value, dict):
        return Payload(PayloadKind.JSON, text, body, frozenset(value))
    if not isinstance(value, list) or not value:
        return EMPTY_LIST
    first = value[0]
    if not isinstance(first, dict):
        raise BodyInvalid(reason=UNLIKE_KEYS)
    keys = first.keys()
    if any(not isinstance(item, dict) or item.keys() != keys for item in value):
        raise BodyInvalid(reason=UNLIKE_KEYS)
    return Payload(PayloadKind.JSON, text, body, frozenset(keys))


def _load(text: str) -> Any:  # noqa: ANN401 - any JSON value
    try:
        return _DECODER.decode(text)
    except (ValueError, RecursionError):
        raise BodyInvalid(reason=NOT_JSON) from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)  # NaN and Infinity are no JSON


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)
"""One for all: `json.loads` makes a new one each time it is told about constants."""


def _decode(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError:
        raise BodyInvalid(reason=NOT_JSON) from None


def _parse_form(body: bytes, *, is_call: bool) -> Payload:
    form = []
    for piece in _decode(body).replace(";", "&").split("&"):
        if piece:
            key, _, value = piece.partition("=")
            form.append((unquote_plus(key), unquote_plus(value)))
    keys = frozenset(key for key, _ in form)
    if is_call:
        return Payload(PayloadKind.FORM, raw=body, keys=keys, form=tuple(form))
    return Payload(PayloadKind.JSON, json.dumps(dict(form), ensure_ascii=False), keys=keys)
