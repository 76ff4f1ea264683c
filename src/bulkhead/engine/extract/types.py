"""SQLAlchemy's types as each server spells them, both in a declaration and in its catalogue."""

from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql
from sqlalchemy.engine import Dialect as SqlDialect
from sqlalchemy.types import TypeDecorator, TypeEngine

from bulkhead.engine.drivers.protocol import Dialect
from bulkhead.engine.extract.model import SchemaUnsupported

# Neither doubles a percent sign, which is only a character where nothing is a parameter.
DIALECTS: Final[dict[Dialect, SqlDialect]] = {
    Dialect.POSTGRESQL: postgresql.dialect(paramstyle="named"),  # type: ignore[no-untyped-call]
    Dialect.MYSQL: mysql.dialect(paramstyle="named"),
}
COLLATION: Final = "utf8mb4_bin"
"""Of tables and texts on MySQL: compares what is written, as PostgreSQL does."""
ASCII_COLLATION: Final = "ascii_bin"
BYTES_MAX: Final = 4
"""Of one character in utf8mb4."""


@dataclass(frozen=True, slots=True)
class ColumnType:
    """A column's type in one dialect."""

    name: str
    """As the catalogue has it: `character varying(120)`, `varchar(120)`."""
    collation: str = ""
    """Only where it is not what the column would have anyway."""
    index_bytes: int = 8
    """How long a key of it can be on MySQL; 0 where it cannot be indexed whole."""
    is_numeric: bool = False
    default_needs_parentheses: bool = False
    """Whether MySQL takes a default only as an expression."""


def column_type(declared: TypeEngine[Any], dialect: Dialect) -> ColumnType:
    """What `declared` is on `dialect`; raises SchemaUnsupported."""
    render = _postgresql if dialect is Dialect.POSTGRESQL else _mysql
    resolved = _resolve(declared, dialect)
    rendered = None if isinstance(resolved, _REFUSED) else render(resolved)
    if rendered is None:
        raise SchemaUnsupported(
            dialect=dialect, what=f"the type {declared!r}", reason="is none of those that are known"
        )
    return rendered


def _resolve(declared: TypeEngine[Any], dialect: Dialect) -> TypeEngine[Any]:
    """The variant for `dialect`, and what stands behind a decorator."""
    found = declared._variant_mapping.get(dialect.value, declared)  # noqa: SLF001 - no other way
    if isinstance(found, TypeDecorator) and not isinstance(found, _REFUSED):
        return _resolve(found.load_dialect_impl(DIALECTS[dialect]), dialect)
    return found


def _postgresql(found: TypeEngine[Any]) -> ColumnType | None:
    match found:
        case sa.Numeric() if not isinstance(found, sa.Float):
            return ColumnType(f"numeric{_digits(found)}", is_numeric=True)
        case sa.CHAR():
            return ColumnType(f"character({found.length or 1})", found.collation or "")
        case sa.Text():
            return ColumnType("text", found.collation or "")
        case sa.String():
            length = "" if found.length is None else f"({found.length})"
            return ColumnType(f"character varying{length}", found.collation or "")
        case sa.DateTime():
            zone = "with" if found.timezone else "without"
            return ColumnType(f"timestamp {zone} time zone")
    for known, name in _POSTGRESQL_NAMES.items():
        if isinstance(found, known):
            return ColumnType(name, is_numeric=issubclass(known, sa.Integer | sa.Float))
    return None


def _mysql(found: TypeEngine[Any]) -> ColumnType | None:
    match found:
        case sa.Numeric() if not isinstance(found, sa.Float):
            return ColumnType(f"decimal{_digits(found) or '(65,30)'}", is_numeric=True)
        case sa.Text() | mysql.MEDIUMTEXT() | mysql.LONGTEXT():
            longer = (name for kind, name in _LONG_TEXTS.items() if isinstance(found, kind))
            name = next(longer, "text")
            return ColumnType(name, _text_collation(found), 0, default_needs_parentheses=True)
        case sa.String():
            return _mysql_string(found)
        case sa.Uuid():
            return ColumnType("char(32)", ASCII_COLLATION, 32)
        case sa.LargeBinary() | sa.JSON():
            name = "json" if isinstance(found, sa.JSON) else "longblob"
            return ColumnType(name, index_bytes=0, default_needs_parentheses=True)
    for known, name in _MYSQL_NAMES.items():
        if isinstance(found, known):
            return ColumnType(name, is_numeric=not issubclass(known, sa.Date | sa.DateTime))
    return None


def _mysql_string(found: sa.String) -> ColumnType | None:
    if found.length is None:
        return None
    collation = _text_collation(found)
    width = 1 if collation.startswith("ascii_") else BYTES_MAX
    name = "char" if isinstance(found, sa.CHAR) else "varchar"
    return ColumnType(f"{name}({found.length})", collation, found.length * width)


def _text_collation(found: sa.String) -> str:
    return found.collation or COLLATION


def _digits(found: sa.Numeric[Any]) -> str:
    return "" if found.precision is None else f"({found.precision},{found.scale or 0})"


_REFUSED: Final = (sa.Interval, sa.Enum)
"""MySQL has no spans of time; the words of an enumeration can change in a check only."""
_POSTGRESQL_NAMES: Final[dict[type[TypeEngine[Any]], str]] = {
    sa.SmallInteger: "smallint",
    sa.BigInteger: "bigint",
    sa.Integer: "integer",
    sa.Boolean: "boolean",
    sa.Float: "double precision",
    sa.Uuid: "uuid",
    sa.Date: "date",
    postgresql.JSONB: "jsonb",
    sa.JSON: "json",
    sa.LargeBinary: "bytea",
}
_LONG_TEXTS: Final[dict[type[sa.String], str]] = {
    mysql.MEDIUMTEXT: "mediumtext",
    mysql.LONGTEXT: "longtext",
}
_MYSQL_NAMES: Final[dict[type[TypeEngine[Any]], str]] = {
    sa.SmallInteger: "smallint",
    sa.BigInteger: "bigint",
    sa.Integer: "int",
    sa.Boolean: "tinyint(1)",
    sa.Float: "double",
    sa.Date: "date",
    sa.DateTime: "datetime(6)",
}
