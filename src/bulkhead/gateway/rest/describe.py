"""Answers for the root of the API: what there is, as its reader may use it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from bulkhead.engine.errors import BulkheadError
from bulkhead.gateway.rest.config import OpenApiMode, RestConfig
from bulkhead.gateway.rest.errors import DescriptionDisabled, MediaTypeUnavailable
from bulkhead.gateway.rest.openapi import JSON, OPENAPI, Place, parse_place, render_openapi
from bulkhead.gateway.rest.openapi_facts import load_openapi_facts
from bulkhead.gateway.rest.plan_media import ANY, parse_media_type
from bulkhead.gateway.rest.request import ApiRequest
from bulkhead.gateway.rest.run import to_rest_error

if TYPE_CHECKING:
    from bulkhead.engine.connections.claims import Claims
    from bulkhead.engine.connections.database import OpenDatabase
    from bulkhead.gateway.rest.schema import Schema

_OFFERED = frozenset({OPENAPI, JSON, ANY})


async def describe(
    database: OpenDatabase,
    claims: Claims,
    first: str,
    request: ApiRequest,
    schema: Schema,
    config: RestConfig,
) -> bytes:
    """Describe the schema of `request` to the role of `claims`, in a transaction after `first`.

    Raises PGRST107 for a media type that it cannot have, and PGRST126 where it is switched off.
    """
    wanted = [parse_media_type(each) for each in request.accept]
    if not any(each.name in _OFFERED and each.explain is None for each in wanted):
        raise MediaTypeUnavailable(media_types=", ".join(each.render() for each in wanted))
    if config.openapi_mode is OpenApiMode.DISABLED:
        raise DescriptionDisabled
    try:
        async with database.transaction(claims, read_only=True, first=first) as tx:
            facts = await load_openapi_facts(tx, request.schema, schema, config.openapi_mode)
    except BulkheadError as error:
        raise to_rest_error(error, is_anonymous=claims.role == config.anon_role) from error
    place = find_place(request, config)
    described = render_openapi(facts, schema, place, secured=config.openapi_security_active)
    return json.dumps(described, ensure_ascii=False, separators=(",", ":")).encode()


def find_place(request: ApiRequest, config: RestConfig) -> Place:
    """Where the API is, as configured, else where the client says it has found it."""
    if config.openapi_server_proxy_uri is not None:
        return parse_place(config.openapi_server_proxy_uri)
    host = next((value for name, value in request.headers if name == "host"), "")
    try:
        return parse_place(f"http://{host}")
    except ValueError:
        return Place()
