"""What is to be done, worked out from a request and the schema; no SQL yet.

Source: PostgREST v14, `Plan.hs`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bulkhead.gateway.rest.config import RestConfig
from bulkhead.gateway.rest.errors import (
    AggregatesNotAllowed,
    MaxAffectedNeedsSet,
    PreferencesInvalid,
)
from bulkhead.gateway.rest.plan_call import Call, plan_call
from bulkhead.gateway.rest.plan_function import find_function
from bulkhead.gateway.rest.plan_media import Media, Offer, negotiate
from bulkhead.gateway.rest.plan_read import Root, plan_read
from bulkhead.gateway.rest.plan_tree import ReadNode
from bulkhead.gateway.rest.plan_write import Insert, Mutation, Update, plan_write
from bulkhead.gateway.rest.query import WHOLE, SelectEmbed, SelectField, SelectItem
from bulkhead.gateway.rest.request import Action, ApiRequest, Count, Resolution, Return
from bulkhead.gateway.rest.schema import Function, Name, Schema, Table, Volatility
from bulkhead.gateway.rest.schema_errors import TableNotFound
from bulkhead.gateway.rest.similar import suggest_table
from bulkhead.gateway.rest.sqlstate import from_postgres

SOURCE = Name("", "pgrst_source")
"""The rows of a write or a call."""
_CARDINALITY = "21000"


@dataclass(frozen=True, slots=True)
class ReadPlan:
    """Reading a table or a view."""

    target: Name
    root: ReadNode
    media: Media
    count: Count | None
    max_rows: int | None

    @property
    def is_read_only(self) -> bool:
        """Whether the transaction is read-only."""
        return True

    @property
    def function(self) -> Function | None:
        """The function whose settings hold for the transaction."""
        return None


@dataclass(frozen=True, slots=True)
class WritePlan:
    """Writing to a table or a view."""

    target: Name
    mutation: Mutation
    root: ReadNode
    """Reads the rows that were written, for the representation."""
    media: Media
    primary_key: tuple[str, ...]
    wants_location: bool
    """An insert with `return=headers-only`: `location` is filled when it was one row."""
    wants_inserted: bool
    """Whether `inserted` is filled: PUT, and an insert that merges duplicates."""
    resolution_applies: bool
    """Whether there is a key by which duplicates are found."""

    @property
    def is_read_only(self) -> bool:
        """Whether the transaction is read-only."""
        return False

    @property
    def function(self) -> Function | None:
        """The function whose settings hold for the transaction."""
        return None


@dataclass(frozen=True, slots=True)
class CallPlan:
    """Calling a function and reading what it returns."""

    target: Name
    call: Call
    root: ReadNode
    media: Media
    count: Count | None
    max_rows: int | None
    is_read_only: bool

    @property
    def function(self) -> Function | None:
        """The function whose settings hold for the transaction."""
        return self.call.function


Plan = ReadPlan | WritePlan | CallPlan


def make_plan(request: ApiRequest, schema: Schema, config: RestConfig) -> Plan:
    """Work out how a read, a write or a call is done.

    Raises a RestError where the request asks for what the schema has not, or has more than once.
    """
    if request.is_function:
        return _plan_call(request, schema, config)
    table = find_table(schema, request.target)
    if request.action is Action.READ:
        return _plan_read(request, schema, config)
    return _plan_write(request, schema, config, table)


def find_table(schema: Schema, name: Name) -> Table:
    """The table or view called `name`; raises PGRST205."""
    table = schema.tables.get(name)
    if table is None:
        raise TableNotFound(schema=name.schema, table=name.name, hint=suggest_table(schema, name))
    return table


def _plan_read(request: ApiRequest, schema: Schema, config: RestConfig) -> ReadPlan:
    root = _plan_root(request, schema, config, Root(request.target, None, request.target))
    media = _negotiate(request, schema, config, root, has_body=not request.headers_only)
    _verify_preferences(request)
    return ReadPlan(request.target, root, media, request.preferences.count, config.max_rows)


def _plan_write(request: ApiRequest, schema: Schema, config: RestConfig, table: Table) -> WritePlan:
    place = Root(SOURCE, table.name.name, table.name, takes_filters=False)
    root = _plan_root(request, schema, config, place)
    mutation = plan_write(request, schema, table, root)
    if config.safe_update:
        _verify_is_safe(mutation)
    _verify_preferences(request)
    returning = request.preferences.returning
    has_body = returning is Return.REPRESENTATION
    media = _negotiate(request, schema, config, root, has_body=has_body)
    is_insert = isinstance(mutation, Insert)
    merges = isinstance(mutation, Insert) and mutation.resolution is Resolution.MERGE
    return WritePlan(
        target=request.target,
        mutation=mutation,
        root=root,
        media=media,
        primary_key=table.primary_key,
        wants_location=request.action is Action.CREATE and returning is Return.HEADERS_ONLY,
        wants_inserted=is_insert and merges,
        resolution_applies=request.action is Action.CREATE
        and (bool(table.primary_key) or request.query.on_conflict is not None),
    )


def _plan_call(request: ApiRequest, schema: Schema, config: RestConfig) -> CallPlan:
    function = find_function(request, schema)
    returned = function.returns.name.name if function.returns.is_composite else function.name.name
    table = Name(function.name.schema, returned)
    place = Root(SOURCE, table.name, table, row=function.returns.name, returned=function.columns)
    root = _plan_root(request, schema, config, place)
    call = plan_call(request, function, root)
    media = _negotiate(request, schema, config, root, has_body=not request.headers_only)
    _verify_preferences(request)
    preferences = request.preferences
    is_strict = preferences.handling == "strict"
    if preferences.max_affected is not None and is_strict and not function.returns.is_set:
        raise MaxAffectedNeedsSet
    is_read_only = (
        request.action is not Action.CALL or function.volatility is not Volatility.VOLATILE
    )
    return CallPlan(
        request.target, call, root, media, preferences.count, config.max_rows, is_read_only
    )


def _plan_root(request: ApiRequest, schema: Schema, config: RestConfig, place: Root) -> ReadNode:
    if not config.aggregates_enabled and any(_aggregates(request.query.select)):
        raise AggregatesNotAllowed
    is_limited = () in request.query.limited or not request.ranges.get((), WHOLE).is_whole
    return plan_read(request.query, schema, place, is_root_limited=is_limited)


def _negotiate(
    request: ApiRequest, schema: Schema, config: RestConfig, root: ReadNode, *, has_body: bool
) -> Media:
    offer = Offer(
        handlers=schema.media_handlers,
        target=root.table,
        is_whole=root.has_default_select,
        allows_plan=config.plan_enabled,
    )
    return negotiate(offer, request.accept, has_body=has_body)


def _verify_preferences(request: ApiRequest) -> None:
    preferences = request.preferences
    if preferences.invalid and preferences.handling == "strict":
        raise PreferencesInvalid(preferences=", ".join(preferences.invalid))


def _verify_is_safe(mutation: Mutation) -> None:
    """Refuse to write to all rows of a table, as the extension safeupdate does."""
    if not isinstance(mutation, Insert) and not mutation.where:
        verb = "UPDATE" if isinstance(mutation, Update) else "DELETE"
        text = f"{verb} requires a WHERE clause"
        raise from_postgres(_CARDINALITY, text, None, None, is_anonymous=False)


def _aggregates(items: tuple[SelectItem, ...]) -> Iterator[bool]:
    for item in items:
        if isinstance(item, SelectField):
            yield item.aggregate is not None
        elif isinstance(item, SelectEmbed):
            yield from _aggregates(item.items)
