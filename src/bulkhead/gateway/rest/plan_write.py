"""What is written: the columns and the conditions of an insert, an update or a delete."""

from __future__ import annotations

from dataclasses import dataclass

from bulkhead.gateway.rest.plan_tree import PlanCondition
from bulkhead.gateway.rest.request import Resolution
from bulkhead.gateway.rest.schema import Name


@dataclass(frozen=True, slots=True)
class WriteColumn:
    """A column that is set from the body."""

    name: str
    type: str
    """What the body is read as: the column's type, or json when `transform` makes it that."""
    transform: str | None = None
    default: str | None = None


@dataclass(frozen=True, slots=True)
class Insert:
    """New rows from the body."""

    table: Name
    columns: tuple[WriteColumn, ...]
    is_object: bool
    """Whether the body is one object and not a list."""
    applies_defaults: bool
    resolution: Resolution | None
    conflict_columns: tuple[str, ...]
    key_filters: tuple[PlanCondition, ...]
    """PUT: what the body must agree with."""
    returning: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Update:
    """The columns of the body into the rows that are chosen."""

    table: Name
    columns: tuple[WriteColumn, ...]
    is_object: bool
    applies_defaults: bool
    where: tuple[PlanCondition, ...]
    returning: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Delete:
    """The rows that are chosen."""

    table: Name
    where: tuple[PlanCondition, ...]
    returning: tuple[str, ...]


Mutation = Insert | Update | Delete
