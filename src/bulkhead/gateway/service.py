"""A service of a gateway: which API answers below which address, and what is let through to it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bulkhead.engine.errors import BulkheadError
from bulkhead.gateway.rest.errors import RestError
from bulkhead.http.asgi import App, Scope
from bulkhead.http.heads import HeadLimits

Headers = Sequence[tuple[bytes, bytes]]

OTHER = "{other}"
URL_BYTES_MAX = 65_000
"""A filter may name thousands of ids."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error in the words of an API."""

    status: int
    body: Mapping[str, Any]
    headers: Headers = ()

    def encode(self) -> bytes:
        """The body as it is sent."""
        return json.dumps(self.body, ensure_ascii=False, separators=(",", ":")).encode()


def refuse_plainly(error: BulkheadError, scope: Scope) -> Refusal:  # noqa: ARG001 - one signature
    """Render an error as PostgREST does: `message`, `code`, `details` and `hint`."""
    if isinstance(error, RestError):
        return Refusal(error.http_status, error.to_body(), error.headers)
    headers: list[tuple[bytes, bytes]] = []
    if error.retry_after_s is not None:
        headers.append((b"retry-after", str(error.retry_after_s).encode()))
    body = {
        "code": error.code,
        "details": None,
        "hint": error.advice or None,
        "message": error.message,
    }
    return Refusal(error.status, body, headers)


@dataclass(frozen=True, slots=True)
class Service:
    """An API below `prefix`, such as `/commerce/orders/rest/v1`."""

    prefix: str
    app: App
    """Is given the path below the prefix, and the prefix as `root_path`."""
    body_bytes_max: int
    route_of: Callable[[str], str] = lambda _: f"/{OTHER}"
    """The template of a path below the prefix, for logs and metrics; one of few."""
    admit: Callable[[Scope], None] = lambda _: None
    """Raises what a request is refused for before it is looked at."""
    refuse: Callable[[BulkheadError, Scope], Refusal] = refuse_plainly
    limits: HeadLimits = field(default_factory=lambda: HeadLimits(url_bytes_max=URL_BYTES_MAX))
    body_timeout_s: float = 15.0
