"""Turn tables that are declared once into the SQL of a dialect: `extract`.

The result is the same for the same declaration, byte by byte, and says with it what a server's
catalogue has once all statements have run.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import sqlalchemy as sa

from bulkhead.engine.drivers.protocol import Dialect
from bulkhead.engine.extract import access, ddl
from bulkhead.engine.extract.declared import (
    DeclaredColumn,
    DeclaredIndex,
    DeclaredTable,
    read_table,
)
from bulkhead.engine.extract.expression import canonical
from bulkhead.engine.extract.model import (
    Catalogue,
    Extracted,
    ExtractedTable,
    Key,
    Kind,
    SchemaObject,
    SchemaUnsupported,
)
from bulkhead.engine.extract.names import check_distinct, in_brackets
from bulkhead.engine.extract.types import COLLATION

__all__ = ["Dialect", "ExtractOptions", "extract"]

INDEX_BYTES_MAX = 3072
"""Of InnoDB's rows in the format Dynamic."""
COMMENT_CHARACTERS_MAX = 1024
"""Of a column on MySQL; a table could have twice as many."""

_HARMLESS = frozenset({"no action", "restrict"})

Described = tuple[SchemaObject, tuple[str, ...]]
"""An object, and the statements that add it where it is missing."""


@dataclass(frozen=True, slots=True)
class ExtractOptions:
    """What differs between databases of one schema."""

    client_roles: bool = True
    """Whether the roles `anon` and `authenticated` and the functions `auth.*` are there, as in a
    database of Bulkhead's and of Supabase. Without them no policy can name anybody, so that nobody
    but the owner of the tables gets at their rows."""


def extract(
    metadata: sa.MetaData, dialect: Dialect, options: ExtractOptions | None = None
) -> Extracted:
    """The schema of `metadata` in the SQL of `dialect`; raises SchemaUnsupported."""
    options = options or ExtractOptions()
    tables = [read_table(table, dialect) for table in metadata.sorted_tables]
    _check(tables, dialect)
    names = [table.name for table in tables]
    described = {table.name: list(_describe(table, dialect, options)) for table in tables}
    return Extracted(
        tables=tuple(
            _extract_table(table, described[table.name], dialect, names[position + 1 :])
            for position, table in enumerate(tables)
        ),
        catalogue=Catalogue.of(
            dialect, [each for parts in described.values() for each, _ in parts]
        ),
        additions={
            each.key: statements for parts in described.values() for each, statements in parts
        },
    )


def _extract_table(
    table: DeclaredTable, described: list[Described], dialect: Dialect, later: list[str]
) -> ExtractedTable:
    within = frozenset(index.name for index in table.indexes if index.constraint)

    def statements(*kinds: Kind) -> tuple[str, ...]:
        return tuple(
            statement
            for each, additions in described
            if each.key.kind in kinds
            and not (each.key.kind is Kind.INDEX and each.key.name in within)
            for statement in additions
        )

    row_security = statements(Kind.ROW_SECURITY)
    return ExtractedTable(
        name=table.name,
        create=ddl.render_table(table, dialect),
        indexes=statements(Kind.INDEX),
        foreign_keys=statements(Kind.FOREIGN_KEY),
        row_security=row_security[:1],
        access=(*row_security[1:], *statements(Kind.POLICY, Kind.GRANT)),
        comments=tuple(ddl.render_comments(table)) if dialect is Dialect.POSTGRESQL else (),
        drops=tuple(ddl.render_drops(table, later, dialect)),
        unique_constraints=within,
    )


def _describe(
    table: DeclaredTable, dialect: Dialect, options: ExtractOptions
) -> Iterator[Described]:
    yield _describe_table(table, dialect)
    for column in table.columns:
        yield _describe_column(table.name, column, dialect)
    yield from _describe_constraints(table, dialect)
    for index in table.indexes:
        yield _describe_index(table.name, index, dialect)
    for key in table.foreign_keys:
        facets = {
            "columns": in_brackets(key.columns),
            "target": in_brackets((key.target, *key.target_columns)),
            "on delete": _action(key.on_delete, dialect),
            "on update": _action(key.on_update, dialect),
        }
        statement = ddl.alter(table.name, ddl.render_foreign_key(key, dialect), dialect)
        yield SchemaObject(Key(Kind.FOREIGN_KEY, table.name, key.name), facets), (statement,)
    if dialect is Dialect.POSTGRESQL:
        yield from _describe_access(table, options)


def _describe_table(table: DeclaredTable, dialect: Dialect) -> Described:
    facets = {}
    if dialect is Dialect.MYSQL:
        facets = {"engine": ddl.ENGINE, "row format": ddl.ROW_FORMAT, "collation": COLLATION}
    statement = ddl.render_table(table, dialect)
    return SchemaObject(Key(Kind.TABLE, table.name, ""), facets), (statement,)


def _describe_column(table: str, column: DeclaredColumn, dialect: Dialect) -> Described:
    is_generated_mysql = bool(column.generated) and dialect is Dialect.MYSQL
    facets = {
        "type": column.type.name,
        "nullable": "yes" if column.nullable or is_generated_mysql else "no",
        "default": canonical(column.default, dialect),
        "generated": canonical(column.generated, dialect),
        "identity": "yes" if column.identity else "",
        "collation": column.type.collation,
    }
    statement = ddl.alter(table, "column " + ddl.render_column(column, dialect), dialect)
    return SchemaObject(Key(Kind.COLUMN, table, column.name), facets), (statement,)


def _describe_constraints(table: DeclaredTable, dialect: Dialect) -> Iterator[Described]:
    if table.primary_key is not None:
        name, columns = table.primary_key
        statement = ddl.alter(table.name, ddl.render_primary_key(name, columns, dialect), dialect)
        key = Key(Kind.PRIMARY_KEY, table.name, "")
        yield SchemaObject(key, {"columns": in_brackets(columns)}), (statement,)
    for name, expression in table.checks:
        statement = ddl.alter(table.name, ddl.render_check(name, expression, dialect), dialect)
        facets = {"expression": canonical(expression, dialect)}
        yield SchemaObject(Key(Kind.CHECK, table.name, name), facets), (statement,)


def _describe_index(table: str, index: DeclaredIndex, dialect: Dialect) -> Described:
    statement = (
        ddl.alter(table, ddl.render_unique(index, dialect), dialect)
        if index.constraint
        else ddl.render_index(table, index, dialect)
    )
    facets = {
        "columns": ", ".join(index_part(part, dialect) for part in index.columns),
        "unique": "yes" if index.unique else "no",
        "method": index.method,
        "include": in_brackets(index.include),
        "where": canonical(index.where, dialect),
        "nulls": "" if index.nulls_distinct else "not distinct",
    }
    return SchemaObject(Key(Kind.INDEX, table, index.name), facets), (statement,)


def _describe_access(table: DeclaredTable, options: ExtractOptions) -> Iterator[Described]:
    declared = access.TableAccess.of(table.info)
    statements: tuple[str, ...] = (access.enable_row_security(table.name),)
    if options.client_roles:
        statements += access.force_row_security(table.name)
    facets = {"enabled": "yes", "forced": "yes" if options.client_roles else "no"}
    yield SchemaObject(Key(Kind.ROW_SECURITY, table.name, ""), facets), statements
    if options.client_roles:
        for policy in (access.OWNER_POLICY, *declared.policies):
            yield access.describe_policy(table.name, policy)
        for role, privileges in sorted((declared.grants or {}).items()):
            for privilege in sorted(privileges):
                yield access.describe_grant(table.name, privilege, role)


def index_part(part: str, dialect: Dialect) -> str:
    """A column or an expression of an index in its one form; MariaDB 10.6 knows no descending."""
    column = part.removesuffix(" desc")
    is_descending = column != part and dialect is Dialect.POSTGRESQL
    return canonical(column, dialect) + (" desc" if is_descending else "")


def _action(action: str, dialect: Dialect) -> str:
    # InnoDB checks at once either way, and MariaDB calls both the same.
    return "restrict" if action == "no action" and dialect is Dialect.MYSQL else action


def _check(tables: list[DeclaredTable], dialect: Dialect) -> None:
    """Raise SchemaUnsupported for what the server would refuse, cut off or mix up."""
    check_distinct("table", [table.name for table in tables], dialect)
    for table in tables:
        check_distinct("column", [column.name for column in table.columns], dialect)
    indexes = [index.name for table in tables for index in table.indexes]
    names = [name for table in tables for name, _ in table.checks]
    keys = [key.name for table in tables for key in table.foreign_keys]
    if dialect is Dialect.POSTGRESQL:
        # Indexes share their names with tables.
        check_distinct("index", [*(table.name for table in tables), *indexes], dialect)
        return
    check_distinct("constraint", [*names, *keys], dialect)
    for table in tables:
        check_distinct("index", [index.name for index in table.indexes], dialect)
        _check_mysql(table)


def _check_mysql(table: DeclaredTable) -> None:
    lengths = {column.name: column.type.index_bytes for column in table.columns}
    keys = [
        (
            index.name,
            [part.removesuffix(" desc")[1:-1].replace("``", "`") for part in index.columns],
        )
        for index in table.indexes
    ]
    keys += [(name, list(columns)) for name, columns in [table.primary_key or ("", ())]]
    for name, columns in keys:
        found = [lengths[column] for column in columns]
        if not all(found) or sum(found) > INDEX_BYTES_MAX:
            reason = f"is on more than {INDEX_BYTES_MAX} bytes"
            raise SchemaUnsupported(
                dialect=Dialect.MYSQL, what=f"the index '{name}'", reason=reason
            )
    _check_mysql_actions(table)
    for comment in [table.comment, *(column.comment for column in table.columns)]:
        if len(comment) > COMMENT_CHARACTERS_MAX:
            reason = f"has more than {COMMENT_CHARACTERS_MAX} characters"
            what = f"a comment of table '{table.name}'"
            raise SchemaUnsupported(dialect=Dialect.MYSQL, what=what, reason=reason)


def _check_mysql_actions(table: DeclaredTable) -> None:
    """MySQL 8 lets no action of a foreign key change what a check or an expression looks at."""
    generated = [column.generated for column in table.columns if column.generated]
    uses = {
        "a check": {expression for _, expression in table.checks},
        "a generated column": set(generated),
    }
    for key in table.foreign_keys:
        for what, expressions in uses.items():
            is_free = key.on_update in _HARMLESS and (
                key.on_delete in _HARMLESS or (key.on_delete == "cascade" and what == "a check")
            )
            texts = [canonical(expression, Dialect.MYSQL) for expression in expressions]
            names = [in_brackets([column]) for column in key.columns]
            if not is_free and any(name in text for name in names for text in texts):
                reason = f"changes a column that {what} looks at"
                raise SchemaUnsupported(
                    dialect=Dialect.MYSQL, what=f"the foreign key '{key.name}'", reason=reason
                )
