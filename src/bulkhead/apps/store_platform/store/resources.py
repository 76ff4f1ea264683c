"""What the API of a store offers, made from the declaration of its tables.

Of each table a model to add a row and one to change it: types, lengths and numbers are those of the
columns, and so is what their checks ask of one column alone, so that most of what a database would
refuse is refused with the name of the field.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import Annotated, Any, Final, Literal
from uuid import UUID

import sqlalchemy as sa
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, create_model

from bulkhead.apps.store_platform.store import catalogue_tables as catalogue
from bulkhead.apps.store_platform.store import content_tables as content
from bulkhead.apps.store_platform.store import sales_tables as sales
from bulkhead.engine.errors import Invalid
from bulkhead.engine.extract.portable import Id, Instant
from bulkhead.http.described import Described
from bulkhead.http.texts import Shown, ShownLine

TEXT_CHARACTERS_MAX: Final = 1_000_000
LINE_MAX: Final = 320
"""A column of no more characters holds one line."""
INTEGER_MAX: Final = 2**31 - 1
BIGINT_MAX: Final = 2**63 - 1
PAGE_MAX: Final = 200
YEARS: Final = (1900, 9998)
_MADE_HERE: Final = frozenset({"id", "created_at", "updated_at", "used_count"})
_CONFIG: Final = ConfigDict(extra="forbid", arbitrary_types_allowed=False)


def _storable(text: str) -> str:
    if "\0" in text:
        message = "must have no NUL character"
        raise ValueError(message)
    return text


def _in_our_time(instant: dt.datetime) -> dt.datetime:
    """Servers take the first and the last instants there are for infinity, or for nothing."""
    if not YEARS[0] <= instant.year <= YEARS[1]:
        message = f"must be in the years {YEARS[0]} to {YEARS[1]}"
        raise ValueError(message)
    return instant


@dataclass(frozen=True, slots=True)
class Resource:
    """A table of the store as its API shows it."""

    name: str
    """As it stands in the path: `attribute-options`."""
    table: sa.Table
    create: type[BaseModel]
    change: type[BaseModel]
    filters: frozenset[str]
    """The columns by which a list can be narrowed down; each has an index."""

    @property
    def row(self) -> type[Described]:
        """A row as it is shown, for the description."""
        return describe_row(self.table)

    @property
    def page(self) -> type[Described]:
        """A page of rows as it is shown, for the description."""
        return _page(self.table)

    @property
    def title(self) -> str:
        """What its rows are called, for people."""
        return self.table.name.replace("_", " ")

    def parse_filters(self, given: dict[str, str]) -> dict[str, Any]:
        """Read what a list is to be narrowed down by; raises Invalid."""
        found = {}
        for name, text in given.items():
            if name not in self.filters:
                known = ", ".join(sorted(self.filters)) or "nothing"
                raise Invalid(reason=f"{self.name} are filtered by {known}, not by '{name[:60]}'")
            found[name] = _parse(self.table.c[name], name, text)
        return found

    def describe_filters(self) -> list[dict[str, Any]]:
        """The filters as parameters of OpenAPI, by name."""
        return [
            {"name": name, "in": "query", "schema": _described(self.table.c[name])}
            for name in sorted(self.filters)
        ]


def _resource(table: sa.Table, filters: str = "") -> Resource:
    name = table.name.replace("_", "-")
    title = _titled(table)
    columns = [each for each in table.columns if each.name not in _MADE_HERE and not each.computed]
    return Resource(
        name,
        table,
        _model(f"New{title}", columns, partial=False),
        _model(f"Changed{title}", columns, partial=True),
        frozenset(filters.split()),
    )


def _model(name: str, columns: list[sa.Column[Any]], *, partial: bool) -> type[BaseModel]:
    fields: dict[str, Any] = {}
    for column in columns:
        kind = _type(column)
        is_optional = partial or column.nullable or column.server_default is not None
        kind = kind | None if column.nullable else kind
        fields[column.name] = (kind, None if is_optional else ...)
    return create_model(name, __config__=_CONFIG, **fields)


@cache
def describe_row(table: sa.Table, hidden: str = "") -> type[Described]:
    """A row of a table as it is shown, for the description; without the column `hidden`."""
    shown = [column for column in table.columns if column.name != hidden]
    return describe(
        f"{_titled(table)}Row",
        **{each.name: _type(each) | None if each.nullable else _type(each) for each in shown},
    )


def describe(
    title: str,
    of: type[Described] = Described,
    /,
    **fields: Any,  # noqa: ANN401 - types of fields
) -> type[Described]:
    """An answer with fields of these types, and those of `of`, for the description."""
    declared: dict[str, Any] = {field: (kind, ...) for field, kind in fields.items()}
    return create_model(title, __base__=of, **declared)


def describe_stock() -> type[Described]:
    """How many of a product are where, for the description."""
    rows: Any = list[describe_row(catalogue.INVENTORY)]  # type: ignore[misc]
    return describe("ProductInventory", inventory=rows)


@cache
def describe_order() -> type[Described]:
    """An order with its items, for the description."""
    items: Any = list[describe_row(sales.ORDER_ITEMS)]  # type: ignore[misc]
    return describe("Order", _order_row(), items=items)


def describe_orders() -> type[Described]:
    """A page of orders without their items, for the description."""
    orders: Any = list[_order_row()]  # type: ignore[misc]
    return describe("OrdersPage", orders=orders, next=str | None)


def _order_row() -> type[Described]:
    return describe_row(sales.ORDERS, "request_hash")


@cache
def _page(table: sa.Table) -> type[Described]:
    rows: Any = list[describe_row(table)]  # type: ignore[misc]
    return describe(f"{_titled(table)}Page", **{table.name: rows, "next": UUID | None})


def _titled(table: sa.Table) -> str:
    return "".join(word.capitalize() for word in table.name.split("_"))


def _type(column: sa.Column[Any]) -> Any:  # noqa: ANN401, PLR0911 - one answer for each type
    kind, limits = column.type, _limits(column)
    match kind:
        case Id():
            return UUID
        case Instant():
            return Annotated[AwareDatetime, AfterValidator(_in_our_time)]
        case sa.Numeric() if not isinstance(kind, sa.Float):
            field = Field(max_digits=kind.precision, decimal_places=kind.scale, allow_inf_nan=False)
            return Annotated[Decimal, field, Field(**limits)]
        case sa.Boolean():
            return bool
        case sa.Integer():
            return _whole(BIGINT_MAX if isinstance(kind, sa.BigInteger) else INTEGER_MAX, limits)
        case sa.Date():
            return dt.date
        case sa.JSON():
            return dict[str, Any]
        case sa.String() if "one_of" in limits:
            return Literal[limits["one_of"]]
        case sa.String():
            length = Field(max_length=kind.length or TEXT_CHARACTERS_MAX, **limits)
            shown = ShownLine if (kind.length or TEXT_CHARACTERS_MAX) <= LINE_MAX else Shown
            return Annotated[str, length, shown]
    message = f"no type is known for {column}"
    raise AssertionError(message)


def _whole(most: int, limits: dict[str, Any]) -> Any:  # noqa: ANN401
    """A whole number that is written as one: no text, no truth, no fraction."""
    return Annotated[int, Field(strict=True, **{"ge": -most, "le": most, **limits})]


def _limits(column: sa.Column[Any]) -> dict[str, Any]:
    """What the checks of a table ask of one of its columns alone; see `columns.alone`."""
    found: dict[str, Any] = {}
    for check in column.table.constraints:
        if check.info.get("column") == column.name:
            found |= check.info["limits"]
    return found


def _described(column: sa.Column[Any]) -> dict[str, str]:
    match column.type:
        case Id():
            return {"type": "string", "format": "uuid"}
        case sa.Boolean():
            return {"type": "boolean"}
    return {"type": "string"}


def _parse(column: sa.Column[Any], name: str, text: str) -> Any:  # noqa: ANN401
    try:
        match column.type:
            case Id():
                return UUID(text)
            case sa.Boolean():
                return {"true": True, "false": False}[text]
            case _:
                return _storable(text)
    except (ValueError, KeyError):
        raise Invalid(reason=f"'{text[:60]}' is no {name}") from None


PRODUCTS: Final = _resource(catalogue.PRODUCTS, "sku slug brand barcode variant_of is_active")
RESOURCES: Final = (
    _resource(catalogue.CATEGORIES, "slug parent_id"),
    _resource(catalogue.ATTRIBUTES, "code"),
    _resource(catalogue.ATTRIBUTE_OPTIONS, "attribute_id"),
    _resource(catalogue.PRICES, "product_id"),
    _resource(sales.CUSTOMERS, "email"),
    _resource(sales.CUSTOMER_ADDRESSES, "customer_id"),
    _resource(sales.DISCOUNTS, "code"),
    _resource(content.CMS_PAGES, "slug"),
    _resource(content.SEO_SETTINGS, "product_id category_id page_id"),
)
"""Those whose rows no plan limits; products, orders and media are served apart."""
