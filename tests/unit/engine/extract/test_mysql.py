"""MySQL 8 describes the same table in other words than MariaDB; rows as its manual has them."""

from typing import Any

import sqlalchemy as sa

from bulkhead.engine.drivers.protocol import Dialect
from bulkhead.engine.extract.compare import compare
from bulkhead.engine.extract.extract import extract
from bulkhead.engine.extract.model import Catalogue
from bulkhead.engine.extract.mysql import read_mysql
from bulkhead.engine.extract.portable import Id, Instant, document, utc_now

METADATA = sa.MetaData()
THINGS = sa.Table(
    "things",
    METADATA,
    sa.Column("id", Id(), nullable=False),
    sa.Column("state", sa.String(20), nullable=False, server_default="it's"),
    sa.Column("digits", sa.String(20), nullable=False, server_default="10"),
    sa.Column("amount", sa.Numeric(14, 4), nullable=True, server_default="0"),
    sa.Column("shown", sa.Boolean(), nullable=False, server_default=sa.true()),
    sa.Column("made_at", Instant(), nullable=False, server_default=utc_now()),
    sa.Column("options", document(), nullable=False, server_default="{}"),
    sa.Column("doubled", sa.Numeric(14, 4), sa.Computed("amount * 2", persisted=True)),
    sa.PrimaryKeyConstraint("id", name="things_pkey"),
    sa.CheckConstraint(sa.column("state").in_(["it's", "b"]), name="things_state"),
    sa.CheckConstraint(sa.column("state").regexp_match("^[a-z]"), name="things_form"),
    sa.CheckConstraint("not (amount < 0 or amount > 10)", name="things_amount"),
    sa.Index("things_state_idx", "state"),
)


def column(name: str, kind: str, default: str | None, **other: Any) -> dict[str, Any]:
    row = {"nullable": "NO", "extra": "", "collation": None, "generation_expression": ""}
    return {
        "table_name": "things",
        "name": name,
        "type": kind,
        "expression": default,
        **row,
        **other,
    }


def index(name: str, part: str, non_unique: int) -> dict[str, Any]:
    row = {"non_unique": non_unique, "sub_part": None, "method": "BTREE"}
    return {"table_name": "things", "name": name, "column_name": part, **row}


def check(name: str, expression: str) -> dict[str, Any]:
    return {"table_name": "things", "name": name, "expression": expression, "level": "Table"}


MADE = {"extra": "DEFAULT_GENERATED"}
TEXT = {"collation": "utf8mb4_bin"}
MYSQL_8: dict[str, list[dict[str, Any]]] = {
    "select version()": [{"version": b"8.4.3"}],
    "t.engine as engine": [
        {
            "table_name": "things",
            "kind": "BASE TABLE",
            "engine": "InnoDB",
            "row_format": "Dynamic",
            "table_collation": "utf8mb4_bin",
        }
    ],
    "generation_expression": [
        column("id", "char(36)", None, collation="ascii_bin"),
        column("state", "varchar(20)", "it's", **TEXT),
        column("digits", "varchar(20)", "10", **TEXT),
        column("amount", "decimal(14,4)", "0.0000", nullable="YES"),
        column("shown", "tinyint(1)", "1"),
        column("made_at", "datetime(6)", "utc_timestamp(6)", **MADE),
        column("options", "json", "_utf8mb4\\'{}\\'", **MADE),
        column(
            "doubled",
            "decimal(14,4)",
            None,
            nullable="YES",
            extra="STORED GENERATED",
            generation_expression="(`amount` * 2)",
        ),
    ],
    "check_clause": [
        check("things_state", "(`state` in (_utf8mb4\\'it\\'\\'s\\',_utf8mb4\\'b\\'))"),
        check("things_form", "regexp_like(`state`,_utf8mb4\\'^[a-z]\\')"),
        check("things_amount", "((0 <= `amount`) and (`amount` <= 10))"),
    ],
    "key_column_usage": [],
    "statistics": [index("PRIMARY", "id", 0), index("things_state_idx", "state", 1)],
}


class MysqlEight:
    """The part of a connection that reads a catalogue, with the rows of a MySQL 8."""

    dialect = Dialect.MYSQL

    async def fetch(self, sql: str, _args: object, *, timeout_s: float) -> list[dict[str, Any]]:
        assert timeout_s == 1
        return next(rows for part, rows in MYSQL_8.items() if part in sql)


async def read() -> Catalogue:
    return await read_mysql(MysqlEight(), timeout_s=1)  # type: ignore[arg-type]


async def test_a_table_of_mysql_8_is_what_was_declared() -> None:
    extracted = extract(METADATA, Dialect.MYSQL)
    found = compare(extracted, await read())
    assert [str(each) for each in found.differing] == []
    assert found.missing == ()
    assert found.extra == ()
    assert (await read()).fingerprint == extracted.fingerprint
