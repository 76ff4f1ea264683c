"""What the API of a store offers, made from the declaration of its tables.

Of each table a model to add a row and one to change it: types, lengths and numbers are those of the
columns, so that most of what a database would refuse is refused with the name of the field.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, Final
from uuid import UUID

import sqlalchemy as sa
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, create_model

from bulkhead.apps.store_platform.store import catalogue_tables as catalogue
from bulkhead.apps.store_platform.store import content_tables as content
from bulkhead.apps.store_platform.store import sales_tables as sales
from bulkhead.engine.errors import Invalid
from bulkhead.engine.extract.portable import Id, Instant

TEXT_CHARACTERS_MAX: Final = 1_000_000
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
    def title(self) -> str:
        """One of its rows, for messages."""
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


def _resource(table: sa.Table, filters: str = "") -> Resource:
    name = table.name.replace("_", "-")
    title = "".join(word.capitalize() for word in table.name.split("_"))
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


def _type(column: sa.Column[Any]) -> Any:  # noqa: ANN401, PLR0911 - one answer for each type
    kind = column.type
    match kind:
        case Id():
            return UUID
        case Instant():
            return Annotated[AwareDatetime, AfterValidator(_in_our_time)]
        case sa.Numeric() if not isinstance(kind, sa.Float):
            field = Field(max_digits=kind.precision, decimal_places=kind.scale, allow_inf_nan=False)
            return Annotated[Decimal, field]
        case sa.Boolean():
            return bool
        case sa.BigInteger():
            return Annotated[int, Field(ge=-BIGINT_MAX, le=BIGINT_MAX)]
        case sa.Integer():
            return Annotated[int, Field(ge=-INTEGER_MAX, le=INTEGER_MAX)]
        case sa.Date():
            return dt.date
        case sa.JSON():
            return dict[str, Any]
        case sa.String():
            length = Field(max_length=kind.length or TEXT_CHARACTERS_MAX)
            return Annotated[str, length, AfterValidator(_storable)]
    message = f"no type is known for {column}"
    raise AssertionError(message)


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
