"""A table and its home: the one database in which it lives."""

from dataclasses import dataclass, field

from bulkhead.engine.topology.access import Access


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table of a database, written `database.table.column`."""

    database: str
    table: str
    column: str

    @classmethod
    def parse(cls, text: str) -> "Column":
        """Read `database.table.column`; raises ValueError when it has another shape."""
        parts = text.split(".")
        if len(parts) != 3 or not all(part.isidentifier() for part in parts):  # noqa: PLR2004
            message = f"'{text}' is not of the form database.table.column"
            raise ValueError(message)
        return cls(*parts)

    def __str__(self) -> str:
        return f"{self.database}.{self.table}.{self.column}"


@dataclass(frozen=True, slots=True)
class Table:
    """A table: its name, its key, to whom its rows belong and who may do what with them."""

    name: str
    access: Access = field(default_factory=Access)
    owner: str | None = None
    """Where the row's user id stands: a column (`user_id`), or a path over a foreign key of the
    same database (`order_id>orders.user_id`); None when rows belong to nobody."""
    key: tuple[str, ...] = ("id",)
    schema: str = "public"
    insert_columns: frozenset[str] | None = None
    """The columns a client may set on insert where it may insert at all; None means all."""
    update_columns: frozenset[str] | None = None
    """The columns a client may change where it may update at all; None means all."""
