"""Read SQLAlchemy's tables: what is declared of columns, constraints and indexes, per dialect."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.schema import SchemaItem
from sqlalchemy.sql import ClauseElement

from bulkhead.engine.drivers.protocol import Dialect
from bulkhead.engine.extract.model import SchemaUnsupported
from bulkhead.engine.extract.names import quote, quote_text
from bulkhead.engine.extract.types import DIALECTS, ColumnType, column_type

_NUMBER = re.compile(r"-?\d+(\.\d+)?")
_QUOTED = re.compile(r"`(?:[^`]|``)*`|(?P<text>'(?:[^']|'')*')")


@dataclass(frozen=True, slots=True)
class DeclaredColumn:
    """A column in the SQL of one dialect; expressions are empty where there is none."""

    name: str
    type: ColumnType
    nullable: bool
    default: str
    generated: str
    identity: bool
    comment: str


@dataclass(frozen=True, slots=True)
class DeclaredIndex:
    """An index or a unique constraint: both are indexes, made in two ways."""

    name: str
    columns: tuple[str, ...]
    """In SQL: quoted names and expressions, with `desc` where it is declared."""
    unique: bool
    constraint: bool
    method: str = "btree"
    where: str = ""
    nulls_distinct: bool = True
    include: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DeclaredForeignKey:
    """A foreign key; actions in lower case, `no action` where none is declared."""

    name: str
    columns: tuple[str, ...]
    target: str
    target_columns: tuple[str, ...]
    on_delete: str
    on_update: str


@dataclass(frozen=True, slots=True)
class DeclaredTable:
    """A table as it is declared for one dialect."""

    name: str
    columns: tuple[DeclaredColumn, ...]
    primary_key: tuple[str, tuple[str, ...]] | None
    checks: tuple[tuple[str, str], ...]
    indexes: tuple[DeclaredIndex, ...]
    foreign_keys: tuple[DeclaredForeignKey, ...]
    comment: str
    info: dict[Any, Any] = field(hash=False)


def read_table(table: sa.Table, dialect: Dialect) -> DeclaredTable:
    """What `table` is on `dialect`; raises SchemaUnsupported."""
    reader = _Reader(table, dialect)
    return DeclaredTable(
        name=table.name,
        columns=tuple(reader.column(column) for column in table.columns),
        primary_key=reader.primary_key(),
        checks=tuple(reader.checks()),
        indexes=tuple(sorted(reader.indexes(), key=lambda index: index.name)),
        foreign_keys=tuple(sorted(reader.foreign_keys(), key=lambda each: each.name)),
        comment=table.comment or "",
        info=dict(table.info),
    )


def compile_sql(clause: ClauseElement, dialect: Dialect) -> str:
    """An expression in the SQL of `dialect`, columns without their table.

    Raises SchemaUnsupported for a backslash in a text for MySQL, where its meaning is a setting.
    """
    plain = {"include_table": False, "literal_binds": True}
    text = str(clause.compile(dialect=DIALECTS[dialect], compile_kwargs=plain))
    quoted = _QUOTED.finditer(text) if dialect is Dialect.MYSQL else ()
    if any("\\" in (match["text"] or "") for match in quoted):
        reason = "has a backslash, which means one thing or another there"
        raise SchemaUnsupported(dialect=dialect, what=f"the expression {text}", reason=reason)
    return text


class _Reader:
    def __init__(self, table: sa.Table, dialect: Dialect) -> None:
        self.table = table
        self.dialect = dialect
        if table.schema is not None:
            raise self._unsupported(f"the table '{table.name}'", "names a schema")

    def column(self, column: sa.Column[Any]) -> DeclaredColumn:
        found = column_type(column.type, self.dialect)
        return DeclaredColumn(
            name=column.name,
            type=found,
            nullable=bool(column.nullable) and not column.primary_key,
            default=self._default(column, found),
            generated=self._generated(column),
            identity=column.identity is not None,
            comment=column.comment or "",
        )

    def primary_key(self) -> tuple[str, tuple[str, ...]] | None:
        key = self.table.primary_key
        columns = tuple(column.name for column in key.columns)
        return (self._name(key), columns) if columns else None

    def checks(self) -> Iterator[tuple[str, str]]:
        found = [
            constraint
            for constraint in self.table.constraints
            if isinstance(constraint, sa.CheckConstraint) and self._is_meant(constraint)
        ]
        for constraint in sorted(found, key=self._name):
            yield self._name(constraint), compile_sql(constraint.sqltext, self.dialect)

    def indexes(self) -> Iterator[DeclaredIndex]:
        for constraint in self.table.constraints:
            if isinstance(constraint, sa.UniqueConstraint):
                yield DeclaredIndex(
                    name=self._name(constraint),
                    columns=tuple(quote(c.name, self.dialect) for c in constraint.columns),
                    unique=True,
                    constraint=True,
                    nulls_distinct=self._nulls_distinct(constraint),
                )
        for index in self.table.indexes:
            if self._is_meant(index):
                yield self._index(index)

    def foreign_keys(self) -> Iterator[DeclaredForeignKey]:
        for key in self.table.foreign_key_constraints:
            yield DeclaredForeignKey(
                name=self._name(key),
                columns=tuple(key.column_keys),
                target=key.referred_table.name,
                target_columns=tuple(element.column.name for element in key.elements),
                on_delete=(key.ondelete or "no action").lower(),
                on_update=(key.onupdate or "no action").lower(),
            )

    def _index(self, index: sa.Index) -> DeclaredIndex:
        options = index.dialect_options["postgresql"]
        where = options.get("where")
        name = self._name(index)
        if self.dialect is Dialect.MYSQL:
            if where is not None and index.unique:
                raise self._unsupported(f"the unique index '{name}'", "is for a part of the rows")
            if None in (_name_of(_without_order(part)) for part in index.expressions):
                raise self._unsupported(f"the index '{name}'", "is on an expression")
            where = None
        return DeclaredIndex(
            name=name,
            columns=tuple(self._index_part(part) for part in index.expressions),
            unique=bool(index.unique),
            constraint=False,
            method=str(options.get("using") or "btree").lower(),
            where=compile_sql(where, self.dialect) if where is not None else "",
            nulls_distinct=self._nulls_distinct(index),
            include=tuple(str(each) for each in options.get("include") or ()),
        )

    def _nulls_distinct(self, item: sa.UniqueConstraint | sa.Index) -> bool:
        distinct = not item.dialect_options["postgresql"].get("nulls_not_distinct")
        if not distinct and self.dialect is Dialect.MYSQL:
            raise self._unsupported(f"the index '{self._name(item)}'", "takes nulls for equal")
        return distinct

    def _index_part(self, part: Any) -> str:  # noqa: ANN401 - what SQLAlchemy takes
        inner = _without_order(part)
        order = "" if inner is part else " desc"
        name = _name_of(inner)
        text = (
            f"({compile_sql(inner, self.dialect)})" if name is None else quote(name, self.dialect)
        )
        return text + order

    def _default(self, column: sa.Column[Any], found: ColumnType) -> str:
        declared = column.server_default
        if not isinstance(declared, sa.DefaultClause):
            return ""
        if not isinstance(declared.arg, str):
            return compile_sql(declared.arg, self.dialect)
        if not found.is_numeric:
            return quote_text(declared.arg, self.dialect)
        if not _NUMBER.fullmatch(declared.arg):
            raise self._unsupported(f"the default of column '{column.name}'", "is no number")
        return declared.arg

    def _generated(self, column: sa.Column[Any]) -> str:
        if column.computed is None:
            return ""
        if column.computed.persisted is not True:
            raise self._unsupported(f"the column '{column.name}'", "is generated but not stored")
        return compile_sql(column.computed.sqltext, self.dialect)

    def _name(self, item: SchemaItem) -> str:
        name = getattr(item, "name", None)
        if not isinstance(name, str):
            what = f"a {type(item).__name__} of table '{self.table.name}'"
            raise self._unsupported(what, "has no name")
        return str(name)

    def _is_meant(self, item: SchemaItem) -> bool:
        """Whether it is for this dialect: `info={"dialect": "postgresql"}`, or for both."""
        return bool(item.info.get("dialect", self.dialect) == self.dialect)

    def _unsupported(self, what: str, reason: str) -> SchemaUnsupported:
        return SchemaUnsupported(dialect=self.dialect, what=what, reason=reason)


def _without_order(part: Any) -> Any:  # noqa: ANN401 - what SQLAlchemy takes
    """What `column.desc()` and `desc("column")` are about."""
    is_descending = getattr(part, "modifier", None) is sa.sql.operators.desc_op
    return part.element if is_descending else part


def _name_of(part: Any) -> str | None:  # noqa: ANN401 - what SQLAlchemy takes
    """The name of a column, None for an expression."""
    if isinstance(part, sa.ColumnClause):
        return str(part.name)
    named = getattr(part, "element", None)
    return named if isinstance(named, str) else None
