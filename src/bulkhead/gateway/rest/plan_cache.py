"""Plans and statements that were made before, by the shape of the request."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable

from bulkhead.gateway.rest.config import RestConfig
from bulkhead.gateway.rest.plan import Plan, make_plan
from bulkhead.gateway.rest.plan_write import is_json_object
from bulkhead.gateway.rest.query import WHOLE
from bulkhead.gateway.rest.request import Action, ApiRequest
from bulkhead.gateway.rest.schema import Schema
from bulkhead.gateway.rest.sql import render
from bulkhead.gateway.rest.statement import Statement

SHAPE_LENGTH_MAX = 4096
"""Longer addresses, and writes of more columns, are planned each time: memory must be bounded."""
COLUMNS_MAX = 256
_WITH_BODY = frozenset({Action.CREATE, Action.UPDATE, Action.UPSERT, Action.CALL})


class PlanCache:
    """The plans of one REST API; those not used for longest go first."""

    def __init__(self, config: RestConfig, size_max: int = 2000) -> None:
        """Begin empty."""
        self._config = config
        self._size_max = size_max
        self._found: OrderedDict[Hashable, tuple[Plan, Statement]] = OrderedDict()

    def __len__(self) -> int:
        """How many plans there are."""
        return len(self._found)

    def find(self, request: ApiRequest, schema: Schema) -> tuple[Plan, Statement]:
        """The plan and the statement for `request`, made now if there is none yet.

        Raises what `make_plan` raises; a refusal is not kept.
        """
        if not _is_kept(request):
            plan = make_plan(request, schema, self._config)
            return plan, render(plan)
        key = _key(request, schema)
        found = self._found.get(key)
        if found is not None:
            self._found.move_to_end(key)
            return found
        plan = make_plan(request, schema, self._config)
        made = plan, render(plan)
        self._found[key] = made
        if len(self._found) > self._size_max:
            self._found.popitem(last=False)
        return made


def _is_kept(request: ApiRequest) -> bool:
    length = len(request.shape) + len(request.resource) + sum(map(len, request.accept))
    return length <= SHAPE_LENGTH_MAX and len(request.columns) <= COLUMNS_MAX


def _key(request: ApiRequest, schema: Schema) -> Hashable:
    """All that a plan is made from, without the values."""
    preferences = request.preferences
    body: Hashable = None
    if request.action in _WITH_BODY:
        payload = request.payload
        body = (
            payload.kind if payload is not None else None,
            is_json_object(request),
            request.columns,
            request.content_type if request.action is Action.CALL else None,
        )
    return (
        schema.version,
        request.action,
        request.schema,
        request.resource,
        request.is_function,
        request.shape,
        request.accept,
        request.headers_only,
        request.ranges.get((), WHOLE).is_whole,
        preferences.count,
        preferences.returning,
        preferences.resolution,
        preferences.missing_default,
        preferences.handling,
        preferences.max_affected is None,
        preferences.invalid,
        body,
    )
