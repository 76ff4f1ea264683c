"""Which relationship an embedding means, or why that cannot be said.

Source: PostgREST v14, `findRel` of `Plan.hs` and the hints of `Error.hs`.
"""

from __future__ import annotations

from collections.abc import Sequence

from bulkhead.gateway.rest.query import SelectEmbed
from bulkhead.gateway.rest.schema import (
    AnyRelationship,
    Cardinality,
    ComputedRelationship,
    Junction,
    Name,
    Relationship,
    Schema,
)
from bulkhead.gateway.rest.schema_errors import RelationshipAmbiguous, relationship_not_found
from bulkhead.gateway.rest.similar import suggest_relation


def find_relationship(schema: Schema, origin: Name, embed: SelectEmbed) -> AnyRelationship:
    """The one way from `origin` to what `embed` names.

    Raises PGRST200 if there is none, and PGRST201 if there are several.
    """
    candidates = schema.relationships.get((origin, origin.schema), ())
    found = [each for each in candidates if _is_meant(each, embed)]
    if len(found) == 1:
        return found[0]
    if found:
        raise _ambiguous(origin.name, embed.relation, found)
    raise relationship_not_found(
        origin.name,
        embed.relation,
        origin.schema,
        used_hint=embed.hint,
        advice=suggest_relation(schema, origin, embed.relation),
    )


def _is_meant(relationship: AnyRelationship, embed: SelectEmbed) -> bool:
    if isinstance(relationship, ComputedRelationship):
        return embed.relation == relationship.function.name
    if relationship.is_self:
        return _is_meant_of_self(relationship, embed)
    if embed.hint is None:
        return embed.relation == relationship.target.name or (
            not relationship.target_is_view
            and (
                _is_constraint(relationship, embed.relation)
                or _is_source_column(relationship, embed.relation)
            )
        )
    return embed.relation == relationship.target.name and (
        _is_constraint(relationship, embed.hint)
        or _is_source_column(relationship, embed.hint)
        or _is_target_column(relationship, embed.hint)
        or (relationship.junction is not None and embed.hint == relationship.junction.table.name)
    )


def _is_meant_of_self(relationship: Relationship, embed: SelectEmbed) -> bool:
    """Tell both directions of one foreign key apart.

    The many of one row go by the name of the table, the one of many rows by that of the column.
    """
    is_to_many = relationship.cardinality is Cardinality.ONE_TO_MANY
    if embed.hint is None:
        return (embed.relation == relationship.target.name and is_to_many) or (
            relationship.cardinality is Cardinality.MANY_TO_ONE
            and _is_source_column(relationship, embed.relation)
        )
    return (
        embed.relation == relationship.target.name
        and is_to_many
        and _is_target_column(relationship, embed.hint)
    )


def _is_constraint(relationship: Relationship, name: str) -> bool:
    return relationship.junction is None and relationship.constraint == name


def _is_source_column(relationship: Relationship, name: str) -> bool:
    columns = relationship.columns
    return relationship.junction is None and len(columns) == 1 and columns[0][0] == name


def _is_target_column(relationship: Relationship, name: str) -> bool:
    columns = relationship.columns
    return relationship.junction is None and len(columns) == 1 and columns[0][1] == name


def _ambiguous(parent: str, child: str, found: Sequence[AnyRelationship]) -> RelationshipAmbiguous:
    known = [each for each in found if isinstance(each, Relationship)]
    options = ", ".join(
        f"'{each.target.name}!{each.junction.table.name if each.junction else each.constraint}'"
        for each in known
    )
    return RelationshipAmbiguous(
        parent=parent, child=child, options=options, details=[_describe(each) for each in known]
    )


def _describe(relationship: Relationship) -> dict[str, str]:
    table, target = relationship.table.name, relationship.target.name
    if relationship.junction is not None:
        how = _describe_junction(relationship.junction)
    else:
        how = (
            f"{relationship.constraint} using "
            f"{table}{_listed([source for source, _ in relationship.columns])} and "
            f"{target}{_listed([column for _, column in relationship.columns])}"
        )
    return {
        "cardinality": relationship.cardinality.value,
        "embedding": f"{table} with {target}",
        "relationship": how,
    }


def _describe_junction(junction: Junction) -> str:
    return (
        f"{junction.table.name} using "
        f"{junction.source_constraint}{_listed([name for _, name in junction.source_columns])} and "
        f"{junction.target_constraint}{_listed([name for _, name in junction.target_columns])}"
    )


def _listed(names: Sequence[str]) -> str:
    return f"({', '.join(names)})"
