"""`select=`: columns, casts, aggregates and embeddings. And `order=`."""

import re
from collections.abc import Callable
from typing import TypeVar

from bulkhead.gateway.rest.parse_fields import (
    blanks,
    comma,
    dot,
    field,
    field_name,
    identifier,
)
from bulkhead.gateway.rest.query import (
    Aggregate,
    Direction,
    Field,
    Join,
    Nulls,
    OrderTerm,
    SelectEmbed,
    SelectField,
    SelectItem,
)
from bulkhead.gateway.rest.scanner import Failure, Scanner

_COLON = re.compile(":")
# What most items look like is recognised at once; the grammar reads the others, and tells errors.
_NAME = "([A-Za-z_][A-Za-z0-9_]*)"
_PLAIN_FIELD = re.compile(rf"(?:{_NAME}:(?!:))?(?:{_NAME}(?:::{_NAME})?|(\*))(?=[,)]|\Z)")
_PLAIN_HEAD = re.compile(rf"(\.\.\.)?(?:{_NAME}:(?!:))?{_NAME}(?:!{_NAME})?(?:!{_NAME})?(?=\()")
_PLAIN_TERM = re.compile(rf"{_NAME}(?:\.(asc|desc))?(?:\.(nullsfirst|nullslast))?(?=,|\Z)")
_MORE_OF_A_NAME = re.compile(r"[\w $-]")


def select_items(s: Scanner) -> tuple[SelectItem, ...]:
    """Items with commas between them; none is fine."""
    return tuple(s.maybe(lambda s: s.separated(comma, _item)) or ())


def order_terms(s: Scanner) -> tuple[OrderTerm, ...]:
    """Terms with commas between them, at least one."""
    return tuple(s.separated(lambda s: s.literal(","), _order_term))


def _item(s: Scanner) -> SelectItem:
    found = _plain_field(s)
    if found is not None:
        return found
    head = _plain_head(s)
    if head is None:
        head = s.maybe(
            lambda s: s.either(
                lambda s: s.attempt(_spread_head), lambda s: s.attempt(_relation_head)
            )
        )
    return _select_field(s) if head is None else _embed(s, head)


def _plain_field(s: Scanner) -> SelectField | None:
    found = _PLAIN_FIELD.match(s.text, s.at)
    if not found or (s.depth and found.end() == len(s.text)):
        return None
    alias, name, cast, star = found.groups()
    if star and alias:
        return None
    s.jump(found.end())
    return SelectField(Field(name or star), alias, cast)


def _plain_head(s: Scanner) -> SelectEmbed | None:
    found = _PLAIN_HEAD.match(s.text, s.at)
    if not found:
        return None
    dots, alias, relation, *given = found.groups()
    if relation == Aggregate.COUNT or (dots and alias):
        return None
    s.jump(found.end())
    hint, join = _hint_and_join([_join_of(one) for one in given])
    return SelectEmbed(relation, (), alias, hint, join, is_spread=dots is not None)


def _join_of(text: str | None) -> str | None:
    return Join(text) if text in (Join.LEFT, Join.INNER) else text


def _embed(s: Scanner, head: SelectEmbed) -> SelectEmbed:
    s.literal("(")
    s.deeper()
    items = select_items(s)
    s.depth -= 1
    s.literal(")")
    return SelectEmbed(head.relation, items, head.alias, head.hint, head.join, head.is_spread)


def _spread_head(s: Scanner) -> SelectEmbed:
    blanks(s)
    s.literal("...")
    relation = field_name(s)
    hint, join = _embed_parameters(s)
    s.attempt(lambda s: s.ahead("("))
    blanks(s)
    return SelectEmbed(relation, (), None, hint, join, is_spread=True)


def _relation_head(s: Scanner) -> SelectEmbed:
    blanks(s)
    alias = _alias(s)
    relation = field_name(s)
    if relation == Aggregate.COUNT:  # `count()` is an aggregate
        raise Failure(s.pending)
    hint, join = _embed_parameters(s)
    s.attempt(lambda s: s.ahead("("))
    blanks(s)
    return SelectEmbed(relation, (), alias, hint, join)


def _embed_parameters(s: Scanner) -> tuple[str | None, Join | None]:
    return _hint_and_join([s.maybe(_embed_parameter), s.maybe(_embed_parameter)])


def _hint_and_join(given: list[str | None]) -> tuple[str | None, Join | None]:
    hints = [one for one in given if one is not None and not isinstance(one, Join)]
    joins = [one for one in given if isinstance(one, Join)]
    return next(iter(hints), None), next(iter(joins), None)


def _embed_parameter(s: Scanner) -> str:
    s.literal("!")
    return s.either(
        lambda s: s.attempt(lambda s: _join(s, Join.LEFT)),
        lambda s: s.attempt(lambda s: _join(s, Join.INNER)),
        lambda s: s.attempt(field_name),
    )


def _join(s: Scanner, join: Join) -> Join:
    s.literal(join)
    s.refuse(_MORE_OF_A_NAME)  # `!inner_table` is a hint
    return join


def _alias(s: Scanner) -> str | None:
    return s.maybe(lambda s: s.attempt(_alias_and_colon))


def _alias_and_colon(s: Scanner) -> str:
    alias = field_name(s)
    s.literal(":")
    s.refuse(_COLON)
    return alias


def _select_field(s: Scanner) -> SelectField:
    blanks(s)
    found = s.either(
        lambda s: s.attempt(_star),
        lambda s: s.attempt(_count),
        _column,
    )
    blanks(s)
    return found


def _star(s: Scanner) -> SelectField:
    s.literal("*")
    _item_end(s)
    return SelectField(Field("*"))


def _count(s: Scanner) -> SelectField:
    alias = _alias(s)
    s.literal("count()")
    cast = s.maybe(_cast)
    _item_end(s)
    return SelectField(Field("*"), alias, None, Aggregate.COUNT, cast)


def _column(s: Scanner) -> SelectField:
    alias = _alias(s)
    column = field(s)
    cast = s.maybe(_cast)
    aggregate = s.maybe(lambda s: s.attempt(_aggregate))
    aggregate_cast = s.maybe(_cast)
    _item_end(s)
    return SelectField(column, alias, cast, aggregate, aggregate_cast)


def _cast(s: Scanner) -> str:
    s.literal("::")
    return identifier(s)


def _aggregate(s: Scanner) -> Aggregate:
    s.literal(".")
    found = s.either(
        _word(Aggregate.SUM),
        _word(Aggregate.AVG),
        _word(Aggregate.COUNT),
        lambda s: s.attempt(_word(Aggregate.MAX)),
        lambda s: s.attempt(_word(Aggregate.MIN)),
    )
    s.literal("()")
    return found


def _word(aggregate: Aggregate) -> Callable[[Scanner], Aggregate]:
    return lambda s: (s.literal(aggregate), aggregate)[1]


def _item_end(s: Scanner) -> None:
    s.either(
        lambda s: s.attempt(lambda s: s.ahead(")")),
        lambda s: s.attempt(lambda s: s.ahead(",")),
        lambda s: s.attempt(Scanner.end),
    )


def _order_term(s: Scanner) -> OrderTerm:
    plain = _PLAIN_TERM.match(s.text, s.at)
    if plain:
        s.jump(plain.end())
        name, direction, nulls = plain.groups()
        return OrderTerm(
            Field(name),
            None,
            Direction(direction) if direction else None,
            Nulls(nulls) if nulls else None,
        )
    blanks(s)
    found = s.either(lambda s: s.attempt(_related_term), _plain_term)
    blanks(s)
    return found


def _related_term(s: Scanner) -> OrderTerm:
    relation = field_name(s)
    s.literal("(")
    column = field(s)
    s.literal(")")
    direction, nulls = _direction_and_nulls(s)
    return OrderTerm(column, relation, direction, nulls)


def _plain_term(s: Scanner) -> OrderTerm:
    column = field(s)
    direction, nulls = _direction_and_nulls(s)
    return OrderTerm(column, None, direction, nulls)


def _direction_and_nulls(s: Scanner) -> tuple[Direction | None, Nulls | None]:
    direction = s.maybe(
        lambda s: s.either(_after_dot(Direction.ASC), _after_dot(Direction.DESC)),
    )
    nulls = s.maybe(
        lambda s: s.either(_after_dot(Nulls.FIRST), _after_dot(Nulls.LAST)),
    )
    s.either(
        lambda s: s.attempt(lambda s: s.ahead(",")),
        lambda s: s.attempt(Scanner.end),
    )
    return direction, nulls


W = TypeVar("W", Direction, Nulls)


def _after_dot(word: W) -> Callable[[Scanner], W]:
    def rule(s: Scanner) -> W:
        dot(s)
        s.literal(word)
        return word

    return lambda s: s.attempt(rule)
