"""Answers that no cache on the way may keep."""

import json
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from bulkhead.capabilities.identity.model import Tokens


def answer_json(
    value: Any,  # noqa: ANN401
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Answer with `value` as JSON."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return Response(
        text.encode("utf-8"),
        status,
        {"cache-control": "no-store", **(headers or {})},
        "application/json",
    )


def answer_tokens(tokens: Tokens) -> Response:
    """Answer with the tokens of a session; the headers say whose, for the log of a proxy."""
    headers = {
        "sb-auth-user-id": str(tokens.user.id),
        "sb-auth-session-id": str(tokens.session_id),
        "pragma": "no-cache",
    }
    return answer_json(tokens.to_json(), headers=headers)
