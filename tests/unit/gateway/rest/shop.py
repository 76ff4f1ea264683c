"""A small shop as the schema cache would have it, and requests about it."""

from collections.abc import Iterable, Sequence

from bulkhead.gateway.rest.parse_query import parse_query
from bulkhead.gateway.rest.query import RowRange
from bulkhead.gateway.rest.request import (
    Action,
    ApiRequest,
    Payload,
    PayloadKind,
    Preferences,
)
from bulkhead.gateway.rest.schema import (
    AnyRelationship,
    Cardinality,
    Column,
    ComputedRelationship,
    Function,
    Junction,
    Name,
    Parameter,
    Relationship,
    Representation,
    ReturnType,
    Schema,
    Table,
    Volatility,
)
from bulkhead.gateway.rest.split import split_query

S = "shop"
DEPTH_MAX = 10
METHODS = {
    "GET": Action.READ,
    "HEAD": Action.READ,
    "POST": Action.CREATE,
    "PATCH": Action.UPDATE,
    "PUT": Action.UPSERT,
    "DELETE": Action.DELETE,
}


def column(name: str, kind: str = "integer", *, default: str | None = None) -> Column:
    return Column(name, kind, kind, kind, default=default)


def table(name: str, *columns: Column, key: Sequence[str] = ("id",)) -> Table:
    return Table(Name(S, name), {each.name: each for each in columns}, tuple(key))


def many_to_one(one: str, column_name: str, other: str, key: str = "id") -> list[Relationship]:
    """A foreign key and the way back."""
    constraint = f"{one}_{column_name}_fkey"
    is_self = one == other
    there = Relationship(
        Name(S, one),
        Name(S, other),
        Cardinality.MANY_TO_ONE,
        constraint,
        ((column_name, key),),
        is_self=is_self,
    )
    back = Relationship(
        Name(S, other),
        Name(S, one),
        Cardinality.ONE_TO_MANY,
        constraint,
        ((key, column_name),),
        is_self=is_self,
    )
    return [there, back]


def many_to_many(one: str, junction: str, other: str) -> Relationship:
    return Relationship(
        Name(S, one),
        Name(S, other),
        Cardinality.MANY_TO_MANY,
        junction=Junction(
            Name(S, junction),
            f"{junction}_{one}_fkey",
            f"{junction}_{other}_fkey",
            (("id", f"{one[:-1]}_id"),),
            (("id", f"{other[:-1]}_id"),),
        ),
    )


def function(
    name: str,
    *parameters: Parameter,
    returns: ReturnType | None = None,
    volatility: Volatility = Volatility.STABLE,
) -> Function:
    integer = ReturnType(Name("pg_catalog", "int4"), is_set=False, is_composite=False)
    return Function(
        Name(S, name),
        parameters,
        returns or integer,
        volatility,
        has_variadic=any(each.is_variadic for each in parameters),
    )


def parameter(
    name: str, kind: str = "integer", *, is_required: bool = True, is_variadic: bool = False
) -> Parameter:
    return Parameter(name, kind, is_required, is_variadic, kind)


TABLES = (
    table("customers", column("id"), column("name", "text"), column("profile", "jsonb")),
    table(
        "orders",
        column("id", default="nextval('orders_id_seq')"),
        column("customer_id"),
        column("billed_to"),
        column("total", "numeric"),
        column("placed_at", "timestamp with time zone", default="now()"),
        column("note", "text"),
        column("search", "tsvector"),
        column("tags", "text[]"),
        Column("state", "shop.state", "shop.state", "shop.state", enum=("open", "closed")),
    ),
    table("items", column("id"), column("order_id"), column("sku", "text"), column("price")),
    table("labels", column("id"), column("name", "text")),
    table("order_labels", column("order_id"), column("label_id"), key=("order_id", "label_id")),
    table("paints", column("id"), Column("shade", "integer", "shop.shade", "shop.shade")),
    table("employees", column("id"), column("name", "text"), column("boss_id")),
    table("notes", column("text", "text"), key=()),
)
RELATIONSHIPS: tuple[AnyRelationship, ...] = (
    *many_to_one("orders", "customer_id", "customers"),
    *many_to_one("orders", "billed_to", "customers"),
    *many_to_one("items", "order_id", "orders"),
    *many_to_one("order_labels", "order_id", "orders"),
    *many_to_one("order_labels", "label_id", "labels"),
    *many_to_one("employees", "boss_id", "employees"),
    many_to_many("orders", "order_labels", "labels"),
    many_to_many("labels", "order_labels", "orders"),
    ComputedRelationship(
        Name(S, "last_item"),
        Name(S, "orders"),
        Name(S, "items"),
        Name(S, "orders"),
        is_to_one=True,
        is_self=False,
    ),
)
FUNCTIONS = (
    function("add", parameter("a"), parameter("b", is_required=False)),
    function("choose", parameter("a")),
    function("choose", parameter("a"), parameter("b", is_required=False)),
    function("total", parameter("values", "integer[]", is_variadic=True)),
    function("echo", parameter("", "json")),
    function("ship", volatility=Volatility.VOLATILE),
    function(
        "recent_orders",
        parameter("since", "date", is_required=False),
        returns=ReturnType(Name(S, "orders"), is_set=True, is_composite=True),
    ),
)
REPRESENTATIONS = {
    ("shop.shade", "json"): Representation("shop.shade", "json", '"shop"."json"'),
    ("json", "shop.shade"): Representation("json", "shop.shade", '"shop"."shade"'),
    ("text", "shop.shade"): Representation("text", "shop.shade", '"shop"."shade_of"'),
}


def shop(*more: AnyRelationship, functions: Iterable[Function] = FUNCTIONS) -> Schema:
    """The schema."""
    relationships: dict[tuple[Name, str], list[AnyRelationship]] = {}
    for each in (*RELATIONSHIPS, *more):
        relationships.setdefault((each.table, S), []).append(each)
    by_name: dict[Name, list[Function]] = {}
    for one in functions:
        by_name.setdefault(one.name, []).append(one)
    return Schema(
        version=1,
        tables={each.name: each for each in TABLES},
        relationships=relationships,
        functions=by_name,
        representations=REPRESENTATIONS,
    )


def ask(
    method: str,
    target: str,
    body: str | None = None,
    *,
    columns: Iterable[str] = (),
    preferences: Preferences | None = None,
    accept: Sequence[str] = ("*/*",),
) -> ApiRequest:
    """A request as the gateway would have read it."""
    path, _, query = target.partition("?")
    is_function = path.startswith("/rpc/")
    action = METHODS[method]
    if is_function:
        action = Action.CALL if method == "POST" else Action.CALL_READ
    is_call_read = action is Action.CALL_READ
    shape, values, numbers = split_query(query.encode(), is_call_read=is_call_read)
    ranges: dict[tuple[str, ...], RowRange] = {}
    for key, number in numbers:
        *names, what = key.split(".")
        known = ranges.get(tuple(names), RowRange())
        ranges[tuple(names)] = (
            RowRange(known.offset, number) if what == "limit" else RowRange(number, known.limit)
        )
    return ApiRequest(
        method=method,
        path=path,
        action=action,
        schema=S,
        resource=path.rpartition("/")[2],
        is_function=is_function,
        query=parse_query(shape, is_call_read=is_call_read, depth_max=DEPTH_MAX, filters_max=100),
        values=values,
        ranges=ranges,
        preferences=preferences or Preferences(),
        accept=tuple(accept),
        content_type="application/json",
        payload=None if body is None else Payload(PayloadKind.JSON, body),
        columns=frozenset(columns),
        headers_only=method == "HEAD",
        shape=shape,
    )
