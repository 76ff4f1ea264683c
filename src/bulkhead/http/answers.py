"""Answers as JSON in which nothing is lost: amounts and ids are text, instants are ISO 8601."""

import base64
import binascii
import datetime as dt
import json
from collections.abc import Mapping
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

from starlette.responses import Response

from bulkhead.engine.errors import Invalid


def answer(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A response with `value` as JSON."""
    return Response(render_json(value), status, headers, media_type="application/json")


def render_json(value: object) -> str:
    """The JSON text of a value made of what rows consist of."""
    return json.dumps(value, default=_plain, separators=(",", ":"), ensure_ascii=False)


def render_cursor(instant: dt.datetime, key: UUID) -> str:
    """A cursor after the row that was made at `instant` and has this key."""
    return base64.urlsafe_b64encode(f"{instant.isoformat()} {key}".encode()).decode()


def parse_cursor(text: str | None) -> tuple[dt.datetime, UUID] | None:
    """Read a cursor; raises Invalid for one that this server did not give out."""
    if text is None:
        return None
    try:
        instant, key = base64.urlsafe_b64decode(text.encode()).decode().split(" ")
        parsed, row = dt.datetime.fromisoformat(instant), UUID(key)
    except (ValueError, binascii.Error):
        raise Invalid(reason="the cursor is not one of ours") from None
    if parsed.tzinfo is None:
        raise Invalid(reason="the cursor is not one of ours")
    return parsed, row


def _plain(value: Any) -> object:  # noqa: ANN401 - whatever a row may hold
    match value:
        case dt.datetime():
            return value.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")
        case dt.date():
            return value.isoformat()
        case Enum():
            return value.value
        case Decimal() | UUID():
            return str(value)
    message = f"{type(value).__name__} cannot be part of an answer"
    raise TypeError(message)
