"""Whose the rows of a shared database are, found from the declared tables of a tenant.

A shared database tells tenants apart by a column, `store_id` for example, which most of its tables
have. Where one has not, its rows are whose the rows are that they refer to; what refers to nobody
has to be named, to be copied to every tenant as it is or to be left.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from bulkhead.engine.errors import Invalid
from bulkhead.engine.fleet.split import OfParent, OwnColumn, Ownership, Whole

if TYPE_CHECKING:
    import sqlalchemy as sa

NAMED_MAX = 10


class OwnerUnknown(Invalid):
    """Nothing says whose the rows of {tables} are in the shared database."""

    code = "row_owner_unknown"
    hint = (
        "Give these tables the column that names the tenant, or say that all tenants get their "
        "rows, or that they are left."
    )


def find_ownership(
    metadata: sa.MetaData,
    shared: Mapping[str, Collection[str]],
    column: str,
    *,
    whole: Collection[str] = (),
    left: Collection[str] = (),
) -> dict[str, Ownership]:
    """For each declared table that `shared` (columns by table) has, whose its rows are.

    `whole` are copied to every tenant, `left` not at all; what the shared database lacks is left
    too. Raises OwnerUnknown, and Invalid when a table is named that is not there.
    """
    declared = {table.name: table for table in metadata.sorted_tables}
    strange = sorted({*whole, *left} - (declared.keys() & shared.keys()))
    if strange:
        raise Invalid(reason=f"there is no table '{strange[0]}' on both sides")
    found: dict[str, Ownership] = {}
    unknown: list[str] = []
    for name, table in declared.items():
        if name not in shared or name in left:
            continue
        owner = Whole() if name in whole else _owner(table, shared[name], column, found)
        if owner is None:
            unknown.append(name)
        else:
            found[name] = owner
    if unknown:
        raise OwnerUnknown(tables=", ".join(unknown[:NAMED_MAX]))
    if not any(isinstance(owner, OwnColumn) for owner in found.values()):
        raise Invalid(reason=f"no table of the shared database has a column '{column}'")
    return found


def _owner(
    table: sa.Table, columns: Collection[str], column: str, found: Mapping[str, Ownership]
) -> Ownership | None:
    if column in columns:
        return OwnColumn(column)
    candidates = [
        OfParent(key.parent.name, key.column.table.name, key.column.name)
        for key in sorted(table.foreign_keys, key=lambda key: key.parent.name)
        if not key.parent.nullable
        and key.parent.name in columns
        and isinstance(found.get(key.column.table.name), OwnColumn | OfParent)
    ]
    return candidates[0] if candidates else None
