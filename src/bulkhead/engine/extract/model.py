"""What a schema consists of, as values that do not depend on how they came about.

What is declared and what a server has are both a `Catalogue`, so that comparing them is comparing
values. Expressions are in the form that `engine.extract.expression` brings them to, types are spelt
as the server spells them.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from bulkhead.engine.drivers.protocol import Dialect
from bulkhead.engine.errors import BulkheadError


class SchemaUnsupported(BulkheadError):
    """The declared schema cannot be made on {dialect}: {what} {reason}."""

    code = "schema_unsupported"
    hint = "Change the declaration so that both servers can have it, or declare it for one dialect."


class Kind(StrEnum):
    """What an object is; the order is the order in which objects are made."""

    TABLE = "table"
    COLUMN = "column"
    PRIMARY_KEY = "primary key"
    CHECK = "check"
    INDEX = "index"
    """Unique constraints too: on both servers they are indexes."""
    FOREIGN_KEY = "foreign key"
    ROW_SECURITY = "row security"
    POLICY = "policy"
    GRANT = "grant"


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """Which object: its kind, its table, and its name within the table."""

    kind: Kind
    table: str
    name: str

    def __str__(self) -> str:
        where = f"{self.kind} {self.table}"
        return f"{where}.{self.name}" if self.name else where


@dataclass(frozen=True, slots=True)
class SchemaObject:
    """One object with everything about it that is compared; comments are for people and are not."""

    key: Key
    facets: Mapping[str, str]
    """For a column: type, nullable, default, ...; a facet that is missing is an empty text."""


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The tables of a database and what belongs to them."""

    dialect: Dialect
    objects: Mapping[Key, SchemaObject]

    @classmethod
    def of(cls, dialect: Dialect, objects: Iterable[SchemaObject]) -> "Catalogue":
        """Keep `objects` in their order."""
        return cls(dialect, {each.key: each for each in objects})

    @property
    def fingerprint(self) -> str:
        """SHA-256 over all objects; equal if and only if the catalogues are."""
        digest = hashlib.sha256(self.dialect.value.encode())
        for key in sorted(self.objects):
            parts = [key.kind.value, key.table, key.name]
            for facet, value in sorted(self.objects[key].facets.items()):
                parts += [facet, value] if value else []
            digest.update(f"{len(parts)};".encode())
            for part in parts:
                data = part.encode("utf-8", "surrogatepass")
                digest.update(b"%d:%s" % (len(data), data))
        return digest.hexdigest()

    @property
    def tables(self) -> tuple[str, ...]:
        """The names of its tables; not of views and what else can be in their place."""
        return tuple(
            key.table
            for key, found in self.objects.items()
            if key.kind is Kind.TABLE and not found.facets.get("kind")
        )

    def only(self, keys: Iterable[Key]) -> "Catalogue":
        """What this has of `keys`: a database without what others have added to it."""
        return Catalogue.of(
            self.dialect, [self.objects[key] for key in keys if key in self.objects]
        )


@dataclass(frozen=True, slots=True)
class ExtractedTable:
    """One table of a schema in the SQL of one dialect."""

    name: str
    create: str
    indexes: tuple[str, ...]
    foreign_keys: tuple[str, ...]
    row_security: tuple[str, ...]
    """Closes the table for everybody but its owner, where the dialect can."""
    access: tuple[str, ...]
    """Opens it by policies and grants, where the roles of clients are there."""
    comments: tuple[str, ...]
    drops: tuple[str, ...]
    """What takes the table back; before the table, its references to tables that come later."""
    unique_constraints: frozenset[str]
    """The indexes that are made with the table."""


@dataclass(frozen=True, slots=True)
class Extracted:
    """A declared schema in the SQL of one dialect."""

    tables: tuple[ExtractedTable, ...]
    """In an order in which each follows those it refers to, as far as there is one."""
    catalogue: Catalogue
    """What a database has once every statement has run."""
    additions: Mapping[Key, tuple[str, ...]]
    """What makes an object that is missing, by its key."""

    @property
    def dialect(self) -> Dialect:
        """The dialect of the statements."""
        return self.catalogue.dialect

    @property
    def fingerprint(self) -> str:
        """What the fingerprint of a database's required part is once every statement has run."""
        return self.catalogue.fingerprint

    def table(self, name: str) -> ExtractedTable:
        """The table called `name`."""
        return next(table for table in self.tables if table.name == name)

    @property
    def drops(self) -> tuple[str, ...]:
        """What takes everything back."""
        references = [statement for table in self.tables for statement in table.drops[:-1]]
        return (*references, *(table.drops[-1] for table in reversed(self.tables)))

    @property
    def statements(self) -> tuple[str, ...]:
        """Everything, in an order that works in an empty database."""
        parts = ("create", "indexes", "foreign_keys", "row_security", "access", "comments")
        return tuple(
            statement
            for part in parts
            for table in self.tables
            for statement in ([table.create] if part == "create" else getattr(table, part))
        )

    @property
    def script(self) -> str:
        """The statements as the text of a file."""
        return "".join(f"{statement};\n\n" for statement in self.statements).rstrip("\n") + "\n"
