"""Owner paths: from a row to the user id of whoever it belongs to.

`user_id` is a column of the table itself; `order_id>orders.user_id` follows a foreign key column
to the row of another table of the same database and takes the column there.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Hop:
    """From `column` to the row of `table` that it refers to."""

    column: str
    table: str


@dataclass(frozen=True, slots=True)
class OwnerPath:
    """The hops to the row that holds the user id, and its column there."""

    hops: tuple[Hop, ...]
    column: str

    @property
    def first_column(self) -> str:
        """The column of the table itself with which the path begins."""
        return self.hops[0].column if self.hops else self.column


def parse_owner(text: str) -> OwnerPath:
    """Read an owner path; raises ValueError when it has another shape.

    >>> parse_owner("item_id>items.order_id>orders.user_id").hops
    (Hop(column='item_id', table='items'), Hop(column='order_id', table='orders'))
    """
    first, *rest = text.split(">")
    hops: list[Hop] = []
    column = first
    for part in rest:
        table, dot, following = part.partition(".")
        if not dot or not table.isidentifier():
            message = f"'{text}' is not an owner path like order_id>orders.user_id"
            raise ValueError(message)
        hops.append(Hop(column, table))
        column = following
    if not column.isidentifier():
        message = f"'{text}' is not an owner path like order_id>orders.user_id"
        raise ValueError(message)
    return OwnerPath(tuple(hops), column)
