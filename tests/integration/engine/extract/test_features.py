"""What only one of the servers can do comes back from that one as it was declared."""

from typing import Any

import pytest
import sqlalchemy as sa
from tests.integration.engine.extract.subject import Subject

from bulkhead.engine.drivers.protocol import Dialect
from bulkhead.engine.extract.access import TableAccess, TablePolicy, belongs_to
from bulkhead.engine.extract.compare import create_missing
from bulkhead.engine.extract.extract import extract
from bulkhead.engine.extract.introspect import introspect
from bulkhead.engine.extract.portable import Id, Instant


def declare(dialect: Dialect) -> sa.MetaData:
    collation = "C" if dialect is Dialect.POSTGRESQL else "utf8mb4_general_ci"
    metadata = sa.MetaData()
    for_postgresql: dict[str, Any] = {"info": {"dialect": "postgresql"}}
    sa.Table(
        "notes",
        metadata,
        sa.Column("number", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("part", sa.SmallInteger(), nullable=False, autoincrement=False),
        sa.Column("owner", Id(), nullable=True),
        sa.Column("body", sa.String(50, collation=collation), nullable=False),
        sa.Column("size", sa.Float(), nullable=True),
        sa.Column("at", Instant(), nullable=True),
        sa.Column("twice", sa.Integer(), sa.Computed("part * 2", persisted=True)),
        sa.Column("letters", sa.CHAR(2), nullable=True),
        sa.PrimaryKeyConstraint("number", "part", name="notes_pkey"),
        sa.UniqueConstraint("owner", "part", name="notes_owner_key"),
        sa.ForeignKeyConstraint(
            ["number", "part"],
            ["notes.number", "notes.part"],
            name="notes_self_fkey",
            ondelete="restrict",
        ),
        sa.Index("notes_body_idx", sa.desc("body"), "part"),
        sa.Index("notes_size_idx", sa.column("size").desc()),
        sa.Index("notes_lower_idx", sa.func.lower(sa.column("body")), **for_postgresql),
        sa.Index("notes_upper_idx", sa.func.upper(sa.column("body")).desc(), **for_postgresql),
        sa.Index(
            "notes_one_idx",
            "owner",
            unique=True,
            postgresql_where=sa.text("part > 0 and owner is not null"),
            postgresql_include=["size"],
            **for_postgresql,
        ),
        sa.Index(
            "notes_null_idx",
            "at",
            unique=True,
            postgresql_nulls_not_distinct=True,
            **for_postgresql,
        ),
        sa.CheckConstraint("body ~ '\\d'", name="notes_digit", **for_postgresql),
        comment='It\'s "noted" `here`; 100 %',
        info={
            "access": TableAccess(
                (
                    TablePolicy(
                        "read_own", "select", ("authenticated",), "owner = (select auth.uid())"
                    ),
                    TablePolicy(
                        "write_own",
                        "update",
                        ("anon", "authenticated"),
                        belongs_to("notes", "owner", "people"),
                        "part between 1 and 3 or owner in (select people.id from public.people)",
                    ),
                ),
                {"authenticated": ("select", "update")},
            )
        },
    )
    sa.Table(
        "people",
        metadata,
        sa.Column("id", Id(), nullable=False),
        sa.Column("best", sa.BigInteger(), nullable=True, comment="the best's number"),
        sa.Column("best_part", sa.SmallInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="people_pkey"),
        sa.ForeignKeyConstraint(
            ["best", "best_part"],
            ["notes.number", "notes.part"],
            name="people_best_fkey",
            ondelete="set null",
        ),
        sa.Index("people_best_idx", "best", "best_part"),
    )
    return metadata


async def test_features_come_back(subject: Subject) -> None:
    await subject.empty()
    extracted = extract(declare(subject.dialect), subject.dialect, subject.options)
    await create_missing(subject.connection, extracted)
    found = await subject.compare(extracted)
    assert [str(each) for each in found.differing] == []
    assert found.missing == ()
    assert (await introspect(subject.connection)).fingerprint == extracted.fingerprint


CIRCLE = sa.MetaData()
for one, other in (("eggs", "hens"), ("hens", "eggs")):
    sa.Table(
        one,
        CIRCLE,
        sa.Column("id", Id(), nullable=False),
        sa.Column("from_id", Id(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=f"{one}_pkey"),
        sa.ForeignKeyConstraint(["from_id"], [f"{other}.id"], name=f"{one}_from_id_fkey"),
        sa.Index(f"{one}_from_id_idx", "from_id"),
    )


@pytest.mark.filterwarnings("ignore:Cannot correctly sort tables")
async def test_tables_may_refer_to_each_other_in_a_circle(subject: Subject) -> None:
    await subject.empty()
    extracted = extract(CIRCLE, subject.dialect, subject.options)
    await create_missing(subject.connection, extracted)
    assert (await subject.compare(extracted)).is_equal
    await subject.run(extracted.drops)
    assert (await introspect(subject.connection)).objects == {}
