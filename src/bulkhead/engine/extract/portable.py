"""Types and functions that mean the same on PostgreSQL, MySQL and MariaDB."""

import datetime as dt
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql
from sqlalchemy.engine import Dialect as SqlDialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator, TypeEngine

MYSQL = "mysql"


class Id(TypeDecorator[UUID]):
    """A UUID; on MySQL as 36 characters, which every tool can read."""

    impl = sa.Uuid
    cache_ok = True

    def load_dialect_impl(self, dialect: SqlDialect) -> TypeEngine[Any]:
        """`uuid`, or `char(36)`."""
        return mysql.CHAR(36, collation="ascii_bin") if dialect.name == MYSQL else sa.Uuid()

    def process_bind_param(self, value: UUID | None, dialect: SqlDialect) -> object:
        """The UUID itself, or its text."""
        return str(value) if value is not None and dialect.name == MYSQL else value

    def process_result_value(self, value: Any | None, dialect: SqlDialect) -> UUID | None:  # noqa: ANN401 - a client library's
        """A UUID, whatever the client library made of it."""
        return UUID(value) if value is not None and dialect.name == MYSQL else value


class Instant(TypeDecorator[dt.datetime]):
    """A point in time, to the microsecond; on MySQL as the date and time of UTC."""

    impl = sa.DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: SqlDialect) -> TypeEngine[Any]:
        """`timestamptz`, or `datetime(6)`."""
        return mysql.DATETIME(fsp=6) if dialect.name == MYSQL else sa.DateTime(timezone=True)

    def process_bind_param(
        self, value: dt.datetime | None, dialect: SqlDialect
    ) -> dt.datetime | None:
        """An aware time; without its zone, which is UTC, for MySQL."""
        assert value is None or value.tzinfo is not None, "an instant knows its time zone"
        if value is None or dialect.name != MYSQL:
            return value
        return value.astimezone(dt.UTC).replace(tzinfo=None)

    def process_result_value(
        self, value: dt.datetime | None, dialect: SqlDialect
    ) -> dt.datetime | None:
        """An aware time."""
        return value.replace(tzinfo=dt.UTC) if value and dialect.name == MYSQL else value


class utc_now(FunctionElement[dt.datetime]):  # noqa: N801 - reads as the function it is
    """The present instant: of the transaction on PostgreSQL, of the statement on MySQL."""

    type = Instant()
    inherit_cache = True


@compiles(utc_now, "postgresql")
def _utc_now_postgresql(element: utc_now, compiler: SQLCompiler, **options: object) -> str:  # noqa: ARG001
    return "now()"


@compiles(utc_now, MYSQL)
def _utc_now_mysql(element: utc_now, compiler: SQLCompiler, **options: object) -> str:  # noqa: ARG001
    # Whatever the time zone of the session is.
    return "utc_timestamp(6)"


def document() -> TypeEngine[Any]:
    """A JSON document."""
    return sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def long_text() -> TypeEngine[str]:
    """A text of up to 16 MB."""
    return sa.Text().with_variant(mysql.MEDIUMTEXT(), MYSQL)
