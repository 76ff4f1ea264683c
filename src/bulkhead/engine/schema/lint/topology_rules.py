"""What a declared topology says against what the catalogue has."""

from collections.abc import Collection, Iterator, Mapping

from bulkhead.engine.schema.lint.rules import TOPOLOGY_RULES, Rule
from bulkhead.engine.schema.owners import parse_owner
from bulkhead.engine.schema.relations import Name, Relation
from bulkhead.engine.topology import Database, Table

RULES = {rule.name: rule for rule in TOPOLOGY_RULES}

Found = tuple[str, str, str]
"""Rule, object and detail."""


def check_topology(
    database: Database, relations: Mapping[Name, Relation], exposed: Collection[str]
) -> Iterator[tuple[Rule, str, str]]:
    """Where `database` and the catalogue disagree: rule, object, detail."""
    declared = {(table.schema, table.name): table for table in database.tables}
    for name, relation in relations.items():
        if relation.schema in exposed and name not in declared:
            yield RULES["table_undeclared"], relation.label, "it is not in the topology"
    for name, table in declared.items():
        found = relations.get(name)
        if found is None:
            detail = f"database '{database.name}' has no such table"
            yield RULES["table_missing"], ".".join(name), detail
            continue
        for rule, label, detail in _check_table(table, found, declared):
            yield RULES[rule], label, detail


def _check_table(
    table: Table, relation: Relation, declared: Mapping[Name, Table]
) -> Iterator[Found]:
    yield from _check_columns(table, relation)
    if not relation.is_table:
        return
    if not relation.has_unique(table.key):
        yield "key_differs", relation.label, f"({', '.join(table.key)}) is not a unique key"
    if table.owner is not None:
        yield from _check_owner(table, relation, declared)


def _check_columns(table: Table, relation: Relation) -> Iterator[Found]:
    named = {*table.key, *(table.insert_columns or ()), *(table.update_columns or ())}
    if table.owner is not None:
        named.add(parse_owner(table.owner).first_column)
    for column in sorted(named - relation.columns.keys()):
        yield "column_missing", f"{relation.label}.{column}", "it is declared but not there"


def _check_owner(
    table: Table, relation: Relation, declared: Mapping[Name, Table]
) -> Iterator[Found]:
    column = parse_owner(table.owner or "").first_column
    if not any(index.columns[:1] == (column,) for index in relation.indexes):
        yield "owner_unindexed", f"{relation.label}.{column}", "no index begins with it"
    facts = relation.columns.get(column)
    if facts is not None and not facts.not_null:
        yield "owner_nullable", f"{relation.label}.{column}", "a row may belong to nobody"
    for key in relation.foreign_keys:
        target = declared.get(key.target)
        if target is not None and target.owner is not None and column not in key.columns:
            detail = f"{key.name} may refer to a row of another owner"
            yield "foreign_key_crosses_owners", relation.label, detail
    for index in relation.indexes:
        is_id = len(index.columns) == 1 and _is_uuid(relation, index.columns[0])
        if index.is_unique and column not in index.columns and not is_id:
            detail = f"unique ({', '.join(index.columns)}) without {column}"
            yield "unique_shared_by_owners", relation.label, detail


def _is_uuid(relation: Relation, column: str) -> bool:
    return relation.columns[column].base_type == "uuid"
