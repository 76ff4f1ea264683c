"""Schemas as hypothesis makes them up: with names that are out to break something."""

from typing import Any

import sqlalchemy as sa
from hypothesis import strategies as st
from sqlalchemy.types import TypeEngine

from bulkhead.engine.drivers.protocol import Dialect
from bulkhead.engine.extract.model import SchemaUnsupported
from bulkhead.engine.extract.names import POSTGRESQL_BYTES_MAX, check_distinct
from bulkhead.engine.extract.portable import Id, Instant, document, long_text, utc_now

HOSTILE = [
    'a"b',
    "a`b",
    "a'b",
    "a''b",
    "a;drop table b",
    "a--b",
    "a/*b",
    "%s",
    "%(a)s",
    "%%",
    "{a}",
    "$1",
    ":a",
    "?",
    "a\\b",
    "a\\",
    "a\nb",
    " a",
    "a.b",
    "[a]",
    "(a)",
    "select",
    "order",
    "null",
    "1a",
    "A",
    "pg_a",
    "ä",
    "\u202ea",
    "a\u0301",
    "ﬃ",
    "漢字",
    "e" * POSTGRESQL_BYTES_MAX,
]
CHARACTERS = st.characters(min_codepoint=32, max_codepoint=0xFFFD, exclude_categories=("Cs", "Cn"))


def is_possible(name: str) -> bool:
    """Whether both servers can have it, with a suffix that tells it apart."""
    return not name.endswith(" ") and len(name.encode()) <= POSTGRESQL_BYTES_MAX


NAMES = st.sampled_from(HOSTILE) | st.text(CHARACTERS, min_size=1, max_size=20).filter(is_possible)
WORDS = st.text(CHARACTERS.filter(lambda c: c != "\\"), max_size=12)


def types() -> st.SearchStrategy[TypeEngine[Any]]:
    """Types of columns, each with what can be its default."""
    return st.one_of(
        st.sampled_from(
            [sa.Integer(), sa.BigInteger(), sa.SmallInteger(), sa.Boolean(), sa.Float()]
        ),
        st.sampled_from([Id(), Instant(), sa.Date(), sa.Text(), document(), long_text()]),
        st.builds(sa.String, st.integers(1, 120)),
        st.builds(sa.Numeric, st.integers(6, 20), st.integers(0, 6)),
        st.just(sa.LargeBinary()),
    )


@st.composite
def columns(draw: st.DrawFn, name: str) -> sa.Column[Any]:
    """A column that is no part of the key."""
    kind = draw(types())
    default: Any = None
    if draw(st.booleans()):
        match kind:
            case sa.Boolean():
                default = draw(st.sampled_from([sa.true(), sa.false()]))
            case sa.Numeric() | sa.Integer():
                default = draw(st.sampled_from(["0", "-1", "7"]))
            case Instant():
                default = utc_now()
            case sa.String():
                default = draw(WORDS)[: kind.length]
    return sa.Column(name, kind, nullable=draw(st.booleans()), server_default=default)


@st.composite
def checks(draw: st.DrawFn, column: sa.Column[Any]) -> sa.ColumnElement[bool]:
    """A condition on a column, of what a schema says of its rows."""
    plain: sa.ColumnElement[Any] = sa.column(column.name)
    found: list[sa.ColumnElement[bool]] = [plain.is_(None), plain.is_not(None)]
    match column.type:
        case sa.Numeric() | sa.Integer() if not isinstance(column.type, sa.Boolean):
            low, high = draw(st.integers(-9, 9)), draw(st.integers(10, 99))
            found += [plain > low, plain.between(low, high), plain != low, plain * 2 <= high]
            found += [plain.in_([low, high]), plain.not_in([low, high]), -plain < high]
            found += [sa.func.coalesce(plain, 0) >= low, plain % 7 == 0, plain - (high - plain) < 1]
        case sa.String():
            word = draw(WORDS)
            found += [plain == word, plain.in_([word, "b"]), plain.not_in(["a", word])]
            found += [sa.func.char_length(plain) > 1, plain == sa.func.lower(plain)]
            found += [plain.regexp_match("^[a-z]+(-[0-9]+)*$"), plain.like("a%"), plain != ""]
        case sa.Boolean():
            found += [plain == sa.true(), sa.not_(plain)]
    first = draw(st.sampled_from(found))
    match draw(st.sampled_from(["alone", "and", "or", "not", "case"])):
        case "and":
            return sa.and_(first, draw(st.sampled_from(found)), draw(st.sampled_from(found)))
        case "or":
            return sa.or_(first, sa.and_(*draw(st.lists(st.sampled_from(found), min_size=2))))
        case "not":
            return sa.not_(sa.and_(first, draw(st.sampled_from(found))))
        case "case":
            return sa.case((first, 1), else_=2) == 1
    return first


def is_indexable(column: sa.Column[Any]) -> bool:
    """Whether both servers take it into an index whole."""
    return not isinstance(column.type, sa.Text | sa.JSON | sa.LargeBinary)


@st.composite
def distinct_names(draw: st.DrawFn, count: int) -> list[str]:
    """Names that both servers can tell apart."""
    names = draw(st.lists(NAMES, min_size=count, max_size=count))
    kept: list[str] = []
    for name in names:
        try:
            check_distinct("name", [*kept, name], Dialect.MYSQL)
        except SchemaUnsupported:
            name = f"n{len(kept)}"  # noqa: PLW2901 - taken already
        kept.append(name)
    return kept


@st.composite
def schemas(draw: st.DrawFn) -> sa.MetaData:
    """A few tables with columns, checks, indexes and references between them."""
    metadata = sa.MetaData()
    names = draw(distinct_names(draw(st.integers(1, 3))))
    for number, name in enumerate(names):
        parts = [draw(columns(each)) for each in draw(distinct_names(draw(st.integers(1, 4))))]
        key: sa.Column[Any] = sa.Column(f"key{number}", Id(), nullable=False)
        table = sa.Table(name, metadata, key, *parts)
        table.append_constraint(sa.PrimaryKeyConstraint(key, name=f"p{number}"))
        for position, column in enumerate(parts):
            label = f"{number}_{position}"
            if draw(st.booleans()):
                table.append_constraint(sa.CheckConstraint(draw(checks(column)), name=f"c{label}"))
            if is_indexable(column) and draw(st.booleans()):
                unique = draw(st.booleans())
                table.append_constraint(
                    sa.UniqueConstraint(column, name=f"u{label}")
                ) if unique else sa.Index(f"i{label}", column, key)
        if number:
            target = metadata.tables[draw(st.sampled_from(names[:number]))]
            target_column: sa.Column[Any] = sa.Column(f"target{number}", Id(), nullable=True)
            table.append_column(target_column)
            table.append_constraint(
                sa.ForeignKeyConstraint(
                    [target_column],
                    [next(iter(target.primary_key.columns))],
                    name=f"f{number}",
                    ondelete=draw(st.sampled_from([None, "cascade", "set null", "restrict"])),
                )
            )
            sa.Index(f"j{number}", target_column)
    return metadata
