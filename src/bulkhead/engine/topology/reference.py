"""A reference from a column of one database to a key of another: a foreign key made explicit."""

from dataclasses import dataclass
from enum import StrEnum

from bulkhead.engine.topology.table import Column


class OnDelete(StrEnum):
    """What becomes of the referring rows when the row they refer to is deleted."""

    KEEP = "keep"
    """They stay and refer to a tombstone: history, such as the order of a deleted user."""
    SET_NULL = "set_null"
    """The referring column is emptied."""
    DELETE = "delete"
    """They are deleted too."""
    RESTRICT = "restrict"
    """The delete is refused while live rows refer to the target."""


@dataclass(frozen=True, slots=True)
class Reference:
    """`source` holds keys of `target`; both are written `database.table.column`."""

    source: Column
    target: Column
    on_delete: OnDelete = OnDelete.KEEP
    fence: bool = False
    """Whether this reference may close a cycle between databases. Exactly such references are
    left out of the deploy order, and a cut fences writes on both of its ends."""
    where: str | None = None
    """An SQL condition on the source rows that hold the reference at all, for example
    `kind = 'order'`; None means every row whose column is not null."""

    @classmethod
    def declare(
        cls,
        source: str,
        *,
        to: str,
        on_delete: OnDelete = OnDelete.KEEP,
        fence: bool = False,
        where: str | None = None,
    ) -> "Reference":
        """Declare that `source` refers to `to`.

        >>> str(Reference.declare("orders.orders.user_id", to="users.user_profiles.id").target)
        'users.user_profiles.id'
        """
        return cls(Column.parse(source), Column.parse(to), on_delete, fence, where)

    @property
    def name(self) -> str:
        """A stable name: `orders.order_items.product_id->products.products.id`."""
        return f"{self.source}->{self.target}"
