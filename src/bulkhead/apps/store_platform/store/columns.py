"""Columns and checks that many tables of a store share."""

from typing import Any

import sqlalchemy as sa

from bulkhead.engine.extract.portable import Id, Instant, utc_now
from bulkhead.engine.ids import new_id

METADATA = sa.MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
        "ix": "%(table_name)s_%(column_0_N_name)s_idx",
        "ck": "%(table_name)s_%(constraint_name)s",
    }
)

MONEY = sa.Numeric(14, 4)
MONEY_MAX = "9999999999.9999"
SLUG = "^[a-z0-9]+(-[a-z0-9]+)*$"


def id_column() -> sa.Column[Any]:
    """The key of a table, made by whoever makes the row."""
    return sa.Column("id", Id(), primary_key=True, default=new_id)


def reference(
    name: str,
    target: str,
    *,
    on_delete: str,
    nullable: bool = False,
    **options: Any,  # noqa: ANN401 - what SQLAlchemy takes
) -> sa.Column[Any]:
    """A column that refers to the id of `target`."""
    key = sa.ForeignKey(f"{target}.id", ondelete=on_delete)
    return sa.Column(name, Id(), key, nullable=nullable, **options)


def created_at() -> sa.Column[Any]:
    """When the row was made."""
    return sa.Column("created_at", Instant(), nullable=False, server_default=utc_now())


def updated_at() -> sa.Column[Any]:
    """When the row was last changed by a statement that SQLAlchemy rendered."""
    return sa.Column(
        "updated_at", Instant(), nullable=False, server_default=utc_now(), onupdate=utc_now()
    )


def flag(name: str, *, default: bool) -> sa.Column[Any]:
    """Yes or no."""
    value = sa.true() if default else sa.false()
    return sa.Column(name, sa.Boolean(), nullable=False, server_default=value)


def count(name: str, default: int | None = 0) -> sa.Column[Any]:
    """A whole number."""
    server_default = None if default is None else str(default)
    return sa.Column(name, sa.Integer(), nullable=False, server_default=server_default)


def money(name: str, *, nullable: bool = False, default: str | None = None) -> sa.Column[Any]:
    """An amount in the currency that stands in the same row; see `not_negative`."""
    return sa.Column(name, MONEY, nullable=nullable, server_default=default)


def text(
    name: str,
    length: int,
    *,
    nullable: bool = False,
    **options: Any,  # noqa: ANN401 - what SQLAlchemy takes
) -> sa.Column[Any]:
    """A text of up to `length` characters."""
    return sa.Column(name, sa.String(length), nullable=nullable, **options)


def alone(column: str, **limits: Any) -> dict[str, Any]:  # noqa: ANN401 - words and numbers
    """What a check asks of one column alone, for the `info` of the check.

    The API asks the same of that field before the database does; the words are those of
    `pydantic.Field`, and `one_of`.
    """
    return {"column": column, "limits": limits}


def not_empty(name: str) -> sa.CheckConstraint:
    """The text says something."""
    info = alone(name, min_length=1)
    return sa.CheckConstraint(sa.column(name) != "", name=f"{name}_given", info=info)


def not_negative(name: str) -> sa.CheckConstraint:
    """An amount from 0 up; the upper limit also keeps out NaN, which is above every number."""
    info = alone(name, ge=0)
    return sa.CheckConstraint(f"{name} between 0 and {MONEY_MAX}", name=name, info=info)


def one_of(name: str, *values: str) -> sa.CheckConstraint:
    """One of some words."""
    info = alone(name, one_of=values)
    return sa.CheckConstraint(sa.column(name).in_(values), name=name, info=info)


def matches(name: str, pattern: str) -> sa.CheckConstraint:
    """A text of a certain form; the pattern means the same to both servers."""
    form = sa.column(name).regexp_match(pattern)
    return sa.CheckConstraint(form, name=f"{name}_form", info=alone(name, pattern=pattern))


def currency() -> sa.Column[Any]:
    """A currency by its three letters."""
    return text("currency", 3)


def currency_form() -> sa.CheckConstraint:
    """Three capital letters."""
    return matches("currency", "^[A-Z]{3}$")
