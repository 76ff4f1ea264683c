"""Conditions as SQL; the values are parameters, cast to the type of what they are compared with.

`in` is `= any (...)`: it takes any number of values in one parameter, none among them. Source of
the operators: PostgREST v14, `SqlFragment.hs`.
"""

from __future__ import annotations

from collections.abc import Callable

from bulkhead.engine.connections.sql import literal
from bulkhead.gateway.rest.plan_tree import (
    EmbedIsNull,
    PlanCondition,
    PlanField,
    PlanFilter,
    PlanLogic,
)
from bulkhead.gateway.rest.query import Filter, Operator
from bulkhead.gateway.rest.schema import Name
from bulkhead.gateway.rest.sql_parts import Parameters, render_cast, render_field
from bulkhead.gateway.rest.statement import Bind, ListBind, PatternBind, TextBind

_COMPARISONS = {
    Operator.EQ: "=",
    Operator.NEQ: "<>",
    Operator.GT: ">",
    Operator.GTE: ">=",
    Operator.LT: "<",
    Operator.LTE: "<=",
    Operator.CONTAINS: "@>",
    Operator.CONTAINED: "<@",
    Operator.OVERLAPS: "&&",
    Operator.STRICTLY_LEFT: "<<",
    Operator.STRICTLY_RIGHT: ">>",
    Operator.NOT_RIGHT: "&<",
    Operator.NOT_LEFT: "&>",
    Operator.ADJACENT: "-|-",
    Operator.ISDISTINCT: "is distinct from",
}
_CONTAINING = frozenset(
    {
        Operator.CONTAINS,
        Operator.CONTAINED,
        Operator.OVERLAPS,
        Operator.STRICTLY_LEFT,
        Operator.STRICTLY_RIGHT,
        Operator.NOT_RIGHT,
        Operator.NOT_LEFT,
        Operator.ADJACENT,
    }
)
_PATTERNS = {
    Operator.LIKE: "like",
    Operator.ILIKE: "ilike",
    Operator.MATCH: "~",
    Operator.IMATCH: "~*",
}
_SEARCHES = {
    Operator.FTS: "to_tsquery",
    Operator.PLAIN_FTS: "plainto_tsquery",
    Operator.PHRASE_FTS: "phraseto_tsquery",
    Operator.WEB_FTS: "websearch_to_tsquery",
}
_STARRED = frozenset({Operator.LIKE, Operator.ILIKE})
_PATTERNLESS = frozenset(
    {
        "smallint",
        "integer",
        "bigint",
        "numeric",
        "real",
        "double precision",
        "money",
        "boolean",
        "date",
        "interval",
        "time without time zone",
        "time with time zone",
        "timestamp without time zone",
        "timestamp with time zone",
        "uuid",
        "json",
        "jsonb",
        "inet",
        "cidr",
        "xml",
        "tsvector",
    }
)
"""Types that no pattern fits; a value of unknown type makes the server say so."""

RenderEmbed = Callable[[EmbedIsNull], str]


def render_conditions(
    conditions: tuple[PlanCondition, ...],
    source: Name,
    parameters: Parameters,
    render_embed: RenderEmbed | None = None,
) -> list[str]:
    """Render conditions on `source`, each one to be joined by `and`.

    `render_embed` renders those about embeddings, which only reads have.
    """
    return [_render(each, source, parameters, render_embed) for each in conditions]


def _render(
    condition: PlanCondition, source: Name, parameters: Parameters, render_embed: RenderEmbed | None
) -> str:
    match condition:
        case EmbedIsNull():
            assert render_embed is not None, "only what is read has embeddings"
            return render_embed(condition)
        case PlanLogic():
            glue = f" {condition.connective.value} "
            inner = glue.join(
                _render(item, source, parameters, render_embed) for item in condition.items
            )
            return f"{'not ' if condition.negated else ''}({inner})"
        case PlanFilter():
            negation = "not " if condition.filter.negated else ""
            return negation + _render_filter(condition, source, parameters)


def _render_filter(condition: PlanFilter, source: Name, parameters: Parameters) -> str:
    field, asked = condition.field, condition.filter
    operator = asked.operator
    if operator in _SEARCHES:
        return _render_search(field, asked, source, parameters)
    column = render_field(source, field)
    if operator is Operator.IS:
        assert asked.is_value is not None, "the parser sets what `is` compares with"
        return f"{column} is {asked.is_value.value.replace('_', ' ')}"
    if operator is Operator.IN:
        return f"{column} = any ({_render_list(field, asked, parameters)})"
    if operator in _PATTERNS:
        value = _render_pattern(field, asked, parameters)
        return f"{column} {_PATTERNS[operator]} {_quantified(asked, value)}"
    value = _quantified(asked, _render_value(field, asked, parameters))
    return f"{column} {_COMPARISONS[operator]} {value}"


def _quantified(asked: Filter, value: str) -> str:
    return value if asked.quantifier is None else f"{asked.quantifier.value} ({value})"


def _render_value(field: PlanField, asked: Filter, parameters: Parameters) -> str:
    if field.is_foreign and asked.operator in _CONTAINING and asked.quantifier is None:
        return parameters.add_untyped(TextBind(asked.value))
    if field.is_enum and field.cast_type is not None and asked.quantifier is None:
        return parameters.add(TextBind(asked.value), field.cast_type)
    value = parameters.text(asked.value)
    if field.transform is not None and asked.operator is not Operator.ISDISTINCT:
        return f"{field.transform}({value})"
    wanted = field.cast_type or "text"
    return render_cast(value, wanted if asked.quantifier is None else f"{wanted}[]")


def _render_list(field: PlanField, asked: Filter, parameters: Parameters) -> str:
    if field.is_enum:
        return parameters.add(ListBind(asked.value), f"{field.cast_type}[]")
    values = parameters.add(ListBind(asked.value), "text[]")
    if field.transform is not None:
        return f"(select {field.transform}(unnest({values})))"
    if field.cast_type in (None, "text", "character varying"):
        return values
    return f"cast({values} as {field.cast_type}[])"


def _render_pattern(field: PlanField, asked: Filter, parameters: Parameters) -> str:
    if field.cast_type in _PATTERNLESS:
        return "null"
    is_starred = asked.operator in _STARRED
    bind: Bind = PatternBind(asked.value) if is_starred else TextBind(asked.value)
    if field.is_foreign and asked.quantifier is None:
        return parameters.add_untyped(bind)
    value = parameters.add(bind, "text")
    if field.cast_type == "bytea":
        return f"cast({value} as bytea)"
    return value if asked.quantifier is None else f"cast({value} as text[])"


def _render_search(field: PlanField, asked: Filter, source: Name, parameters: Parameters) -> str:
    # A constant, as in an index on the same expression.
    language = "" if asked.language is None else f"{literal(asked.language)}::regconfig, "
    column = render_field(source, field)
    vector = f"to_tsvector({language}{column})" if field.to_tsvector else column
    return f"{vector} @@ {_SEARCHES[asked.operator]}({language}{parameters.text(asked.value)})"
