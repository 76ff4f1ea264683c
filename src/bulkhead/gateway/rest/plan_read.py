"""Plans what is read: the tree of a request's embeddings, each joined to its parent.

Source: PostgREST v14, `readPlan` of `Plan.hs`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from bulkhead.gateway.rest.errors import NotEmbedded, RelatedOrderImpossible
from bulkhead.gateway.rest.plan_condition import resolve_condition
from bulkhead.gateway.rest.plan_field import Columns
from bulkhead.gateway.rest.plan_relation import find_relationship
from bulkhead.gateway.rest.plan_select import plan_columns
from bulkhead.gateway.rest.plan_spread import offer_columns, spread_order, without_aggregates
from bulkhead.gateway.rest.plan_tree import (
    JoinColumn,
    PlanCondition,
    PlanField,
    PlanOrder,
    ReadNode,
    Spread,
)
from bulkhead.gateway.rest.query import (
    Condition,
    EmbedPath,
    Field,
    OrderTerm,
    Query,
    SelectEmbed,
    SelectField,
    SelectItem,
)
from bulkhead.gateway.rest.schema import (
    AnyRelationship,
    ComputedRelationship,
    Junction,
    Name,
    Relationship,
    Schema,
)

IDENTIFIER_BYTES_MAX = 63
_STAR = (SelectField(Field("*")),)


@dataclass(slots=True)
class _Asked:
    """What the address says about one level, before anything is looked up."""

    items: tuple[SelectItem, ...]
    path: EmbedPath = ()
    conditions: list[Condition] = field(default_factory=list)
    order: tuple[OrderTerm, ...] = ()
    is_limited: bool = False
    embeds: list[tuple[SelectEmbed, _Asked]] = field(default_factory=list)

    def find(self, path: EmbedPath) -> _Asked:
        """The level that `path` leads to; raises PGRST108."""
        level = self
        for name in path:
            level = level.find_embed(name)
        return level

    def find_embed(self, name: str) -> _Asked:
        """The embedding called `name`, by its alias or by what is embedded."""
        for embed, level in self.embeds:
            if name in (embed.relation, embed.alias):
                return level
        raise NotEmbedded(resource=name)


@dataclass(frozen=True, slots=True)
class Root:
    """Where the tree begins."""

    source: Name
    alias: str | None
    """Set where the rows come from a write or a call."""
    table: Name
    """Where relationships start from."""
    row: Name | None = None
    """Whose columns they are, where that is another table."""
    returned: Mapping[str, str] = field(default_factory=dict)
    """The types of what a function returns where that is no table."""
    takes_filters: bool = True
    """Otherwise the filters of the root choose what is written, and limits say nothing."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where an embedding stands."""

    origin: Name
    """The table that relationships start from."""
    qualifier: Name
    depth: int
    expands_stars: bool


def plan_read(query: Query, schema: Schema, root: Root, *, is_root_limited: bool) -> ReadNode:
    """Plan the tree; `is_root_limited` says whether the request has a range for the root.

    Raises PGRST108, PGRST118, PGRST127, PGRST200 and PGRST201.
    """
    asked = _collect(query, root, is_root_limited=is_root_limited)
    return _Planner(schema).plan_root(asked, root)


def _collect(query: Query, root: Root, *, is_root_limited: bool) -> _Asked:
    asked = _nest(query.select or _STAR)
    for path, condition in query.conditions:
        if path or root.takes_filters:
            asked.find(path).conditions.append(condition)
    for path, terms in query.order:
        asked.find(path).order = terms
    if root.takes_filters:
        asked.is_limited = is_root_limited
        for path in query.limited:
            level = asked.find(path)
            level.is_limited = True
            level.path = path
    return asked


def _nest(items: tuple[SelectItem, ...]) -> _Asked:
    embeds = [(item, _nest(item.items)) for item in items if isinstance(item, SelectEmbed)]
    return _Asked(items, embeds=embeds)


@dataclass(slots=True)
class _Planner:
    schema: Schema
    aliases: int = 0

    def plan_root(self, asked: _Asked, root: Root) -> ReadNode:
        """Plan everything."""
        qualifier = root.source if root.alias is None else Name("", root.alias)
        columns = Columns(self.schema, root.row or root.table, root.returned)
        expands_stars = _has_aggregate(asked)
        place = _Place(root.table, qualifier, 0, expands_stars)
        embeds = self._plan_embeds(asked, place)
        order, conditions = self._plan_rest(asked, columns, embeds, root.table.name)
        return ReadNode(
            source=root.source,
            source_alias=root.alias,
            table=root.table,
            columns=plan_columns(asked.items, columns, None, expands_stars=expands_stars),
            where=conditions,
            order=order,
            path=asked.path,
            is_limited=asked.is_limited,
            embeds=embeds,
        )

    def _plan_embeds(self, asked: _Asked, parent: _Place) -> tuple[ReadNode, ...]:
        return tuple(self._plan_embed(embed, level, parent) for embed, level in asked.embeds)

    def _plan_embed(self, embed: SelectEmbed, asked: _Asked, parent: _Place) -> ReadNode:
        relationship = find_relationship(self.schema, parent.origin, embed)
        depth = parent.depth + 1
        spread = _spread_of(embed, relationship)
        expands = parent.expands_stars or spread is Spread.TO_MANY or _has_aggregate(asked)
        target = relationship.target
        source_alias = _numbered(target.name, depth)
        if source_alias == parent.qualifier.name:
            source_alias = _numbered(target.name, depth, "e")
        columns = Columns(self.schema, target)
        place = _Place(
            Name(parent.origin.schema, target.name), Name("", source_alias), depth, expands
        )
        self.aliases += 1
        alias = f"pgrst_{self.aliases}"
        embeds = self._plan_embeds(asked, place)
        order, conditions = self._plan_rest(asked, columns, embeds, target.name)
        node = ReadNode(
            source=_source(relationship),
            source_alias=source_alias,
            table=target,
            columns=plan_columns(asked.items, columns, spread, expands_stars=expands),
            where=conditions,
            order=order,
            path=asked.path,
            is_limited=asked.is_limited,
            embeds=embeds,
            relationship=relationship,
            parent=parent.qualifier,
            name=embed.alias or embed.relation,
            alias=alias,
            is_inner=embed.join is not None and embed.join.value == "inner",
            spread=spread,
            is_empty=not asked.items
            or (
                all(isinstance(item, SelectEmbed) for item in asked.items)
                and all(each.is_empty for each in embeds)
            ),
        )
        return _spread(_joined(node, depth))

    def _plan_rest(
        self, asked: _Asked, columns: Columns, embeds: tuple[ReadNode, ...], origin: str
    ) -> tuple[tuple[PlanOrder, ...], tuple[PlanCondition, ...]]:
        order = tuple(_plan_order(term, columns, embeds, origin) for term in asked.order)
        aliases = {embed.name: embed.alias for embed in reversed(embeds)}
        conditions = tuple(
            resolve_condition(condition, columns, aliases) for condition in asked.conditions
        )
        return order, conditions


def _plan_order(
    term: OrderTerm,
    columns: Columns,
    embeds: tuple[ReadNode, ...],
    origin: str,
) -> PlanOrder:
    if term.relation is None:
        return PlanOrder(columns.resolve(term.field), term.direction, term.nulls)
    for embed in embeds:
        if embed.name == term.relation:
            if not embed.is_to_one:
                raise RelatedOrderImpossible(origin=origin, target=embed.name)
            within = PlanField(term.field.name, term.field.path)
            return PlanOrder(within, term.direction, term.nulls, alias=embed.alias)
    raise NotEmbedded(resource=term.relation)


def _source(relationship: AnyRelationship) -> Name:
    if isinstance(relationship, ComputedRelationship):
        return relationship.function
    return relationship.target


def _spread_of(embed: SelectEmbed, relationship: AnyRelationship) -> Spread | None:
    if not embed.is_spread:
        return None
    return Spread.TO_ONE if relationship.is_to_one else Spread.TO_MANY


def _spread(node: ReadNode) -> ReadNode:
    if node.spread is None:
        return node
    offered = offer_columns(node)
    if node.spread is Spread.TO_MANY:
        return replace(node, spread_columns=offered, spread_order=spread_order(node))
    return replace(node, columns=without_aggregates(node.columns), spread_columns=offered)


def _joined(node: ReadNode, depth: int) -> ReadNode:
    relationship = node.relationship
    if not isinstance(relationship, Relationship) or node.parent is None:
        return node
    if relationship.junction is None:
        return replace(node, joins=_pair(node.qualifier, node.parent, relationship.columns))
    junction = relationship.junction
    junction_alias = _numbered(junction.table.name, depth, "j")
    qualifier = Name("", junction_alias)
    return replace(
        node,
        order=node.order or _default_order(node, junction),
        junction_alias=junction_alias,
        joins=_pair(qualifier, node.qualifier, junction.target_columns)
        + _pair(qualifier, node.parent, junction.source_columns),
    )


def _default_order(node: ReadNode, junction: Junction) -> tuple[PlanOrder, ...]:
    """By the key that the junction refers to: joins leave rows in no order that would last."""
    if any(column.aggregate for column in node.columns) or any(
        column.aggregate for embed in node.embeds for column in embed.spread_columns
    ):
        return ()
    return tuple(PlanOrder(PlanField(column)) for column, _ in junction.target_columns)


def _pair(
    left: Name, right: Name, columns: Iterable[tuple[str, str]]
) -> tuple[tuple[JoinColumn, JoinColumn], ...]:
    """The conditions of a join: each pair has the column of `right`, then the one of `left`."""
    return tuple(
        (JoinColumn(left, left_column), JoinColumn(right, right_column))
        for right_column, left_column in columns
    )


def _numbered(name: str, depth: int, kind: str = "") -> str:
    """An alias that differs at each depth, also where PostgreSQL cuts long names off."""
    suffix = f"_{kind}{depth}"
    room = IDENTIFIER_BYTES_MAX - len(suffix)
    return name.encode()[:room].decode(errors="ignore") + suffix


def _has_aggregate(asked: _Asked) -> bool:
    """Whether the rows of this level are grouped."""
    if any(isinstance(item, SelectField) and item.aggregate for item in asked.items):
        return True
    return any(embed.is_spread and _has_aggregate(level) for embed, level in asked.embeds)
