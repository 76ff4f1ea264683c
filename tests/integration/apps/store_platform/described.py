"""Answers of the platform, held against what its description says of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.routing import Match


@dataclass(frozen=True)
class Description:
    """The answers that routes have by their description; a hook of clients."""

    routes: Sequence[APIRoute]
    prefix: str

    @classmethod
    def of(cls, routers: Iterable[APIRouter], prefix: str) -> Description:
        routes: list[Any] = [route for router in routers for route in router.routes]
        return cls(routes, prefix)

    async def verify(self, response: httpx.Response) -> None:
        """Pass for what succeeds as described, with no field missing and none more."""
        is_ours = response.request.url.path.startswith(self.prefix)
        is_json = response.headers.get("content-type") == "application/json"
        if not (is_ours and is_json and response.is_success):
            return
        route = self.find(response.request)
        told = route.responses.get(response.status_code, {})
        assert "model" in told, f"{route.methods} {route.path} does not say what it answers"
        model, body = told["model"], await response.aread()
        read = model.model_validate_json(body, strict=True, extra="forbid")
        # An amount that came as a number is read, too, and written as the text it should be.
        written = read.model_dump_json(by_alias=True, exclude_unset=True)
        assert json.loads(written) == json.loads(body)

    def find(self, request: httpx.Request) -> APIRoute:
        path = request.url.path.removeprefix(self.prefix)
        scope = {"type": "http", "method": request.method, "path": path}
        return next(route for route in self.routes if route.matches(scope)[0] is Match.FULL)
