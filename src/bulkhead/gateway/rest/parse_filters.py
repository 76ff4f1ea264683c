"""Conditions in addresses: `not.in.(1,2)` after a column, and groups, `(a.eq.1,or(b.is.null,..))`.

A condition is its head (what to compare, and how) and its value. Who reads one says how to read the
value: as text, or as the place of a value that was taken out before.
"""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple, Protocol, TypeVar

from bulkhead.gateway.rest.parse_fields import blanks, comma, dot, field, identifier, quoted_value
from bulkhead.gateway.rest.query import (
    Condition,
    Connective,
    Field,
    Filter,
    IsValue,
    Logic,
    Operator,
    Quantifier,
    Value,
)
from bulkhead.gateway.rest.scanner import Scanner

_SIMPLE = (
    Operator.NEQ,
    Operator.CONTAINS,
    Operator.CONTAINED,
    Operator.OVERLAPS,
    Operator.STRICTLY_LEFT,
    Operator.STRICTLY_RIGHT,
    Operator.NOT_RIGHT,
    Operator.NOT_LEFT,
    Operator.ADJACENT,
)
_QUANTIFIABLE = (
    Operator.EQ,
    Operator.GTE,
    Operator.GT,
    Operator.LTE,
    Operator.LT,
    Operator.LIKE,
    Operator.ILIKE,
    Operator.MATCH,
    Operator.IMATCH,
)
_FULL_TEXT = (Operator.FTS, Operator.PLAIN_FTS, Operator.PHRASE_FTS, Operator.WEB_FTS)

# What most heads look like is recognised at once; the grammar reads the others, and tells errors.
OPERATOR = (
    r"(?:(?:eq|gte?|lte?|i?like|i?match)(?:\((?:any|all)\))?"
    r"|neq|cs|cd|ov|sl|sr|nxr|nxl|adj|isdistinct"
    r"|(?:pl|ph|w)?fts(?:\([A-Za-z0-9_]+\))?)"
)
"""A pattern of the operators that take a single value."""
IS = r"is\.(?i:null|not_null|true|false|unknown)"
"""A pattern of the conditions that have no value."""
_HEAD = re.compile(rf"(?:not\.)?(?:{OPERATOR}\.|in\.|{IS})")
_PLAIN_NAME = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)\.")
_PLAIN_OPENING = re.compile(r"(?:not\.)?(?:and|or)(?=\()")

_TO_COMMA = re.compile(r"[^,)]*")
_BRACED = re.compile(r"[^{}]*")
_ANYTHING = re.compile(r".*", re.DOTALL)
_NOT_COMMA = re.compile(r"[^,)]", re.DOTALL)

T = TypeVar("T")


class Head(NamedTuple):
    """A condition without its value."""

    operator: Operator
    negated: bool = False
    quantifier: Quantifier | None = None
    language: str | None = None
    is_value: IsValue | None = None

    def filter(self, column: Field, value: Value) -> Filter:
        """The whole condition, about `column`."""
        return Filter(
            column,
            self.operator,
            value,
            negated=self.negated,
            quantifier=self.quantifier,
            language=self.language,
            is_value=self.is_value,
        )


class Values(Protocol):
    """How the values of conditions are read; a rule for each place they stand in."""

    def single(self, s: Scanner) -> Value:
        """The value of a condition in a group."""

    def listed(self, s: Scanner) -> Value:
        """The value of `in`."""


def match_head(text: str, at: int = 0) -> tuple[Head, int] | None:
    """The head that stands in `text` and where it ends, if it is a usual one."""
    found = _HEAD.match(text, at)
    return (_plain_head(found[0]), found.end()) if found else None


@lru_cache(maxsize=1024)
def _plain_head(text: str) -> Head:
    return head(Scanner(text, depth_max=0))


def head(s: Scanner) -> Head:
    """`not.eq(any).`, `fts(english).`, `in.`, or the whole of `is.null`."""
    negated = s.either(lambda s: s.attempt(_not), lambda _: False)
    found = s.labelled(
        "operator (eq, gt, ...)",
        lambda s: s.either(
            _in,
            _is,
            _isdistinct,
            lambda s: s.attempt(_full_text),
            lambda s: s.attempt(_simple),
            lambda s: s.attempt(_quantified),
        ),
    )
    return found._replace(negated=negated)


def group(s: Scanner, values: Values) -> Condition:
    """`or(...)`, `not.and(...)`, or a single condition with its column in front."""
    opening = _PLAIN_OPENING.match(s.text, s.at)
    if opening:
        s.jump(opening.end())
        connective = Connective.AND if opening[0].endswith("d") else Connective.OR
        return _members(s, values, connective, negated=opening[0].startswith("n"))
    found = s.maybe(lambda s: s.attempt(lambda s: _member(s, values)))
    if found is not None:
        return found
    negated = s.labelled(
        "negation operator (not)",
        lambda s: s.either(lambda s: s.attempt(_not), lambda _: False),
    )
    connective = s.labelled(
        "logic operator (and, or)",
        lambda s: s.either(
            lambda s: s.attempt(lambda s: _word(s, Connective.AND)),
            lambda s: _word(s, Connective.OR),
        ),
    )
    return _members(s, values, connective, negated=negated)


def _members(s: Scanner, values: Values, connective: Connective, *, negated: bool) -> Logic:
    _opening(s)
    s.deeper()
    members = s.separated(comma, lambda s: group(s, values))
    s.depth -= 1
    _closing(s)
    return Logic(connective, tuple(members), negated)


def rest_of_text(s: Scanner) -> str:
    """Whatever is left."""
    return s.run(_ANYTHING)


def value_in_group(s: Scanner) -> str:
    """A value up to a comma or parenthesis; quoted, or in braces, it may have these inside."""
    return s.either(
        lambda s: s.attempt(_quoted_element),
        lambda s: s.attempt(_braced),
        lambda s: s.run(_TO_COMMA),
    )


def list_of_values(s: Scanner) -> list[str]:
    """`(a,b,"c,d")`."""
    _opening(s)
    elements = s.separated(
        lambda s: s.literal(","),
        lambda s: s.either(lambda s: s.attempt(_quoted_element), lambda s: s.run(_TO_COMMA)),
    )
    _closing(s)
    return elements


def _member(s: Scanner, values: Values) -> Filter:
    column, found = _plain_column_and_head(s) or _column_and_head(s)
    if found.operator is Operator.IS:
        return found.filter(column, "")
    if found.operator is Operator.IN:
        return found.filter(column, values.listed(s))
    return found.filter(column, values.single(s))


def _plain_column_and_head(s: Scanner) -> tuple[Field, Head] | None:
    name = _PLAIN_NAME.match(s.text, s.at)
    found = match_head(s.text, name.end()) if name else None
    if not name or not found:
        return None
    s.jump(found[1])
    return Field(name[1]), found[0]


def _column_and_head(s: Scanner) -> tuple[Field, Head]:
    column = field(s)
    dot(s)
    return column, head(s)


def _not(s: Scanner) -> bool:
    s.literal("not")
    dot(s)
    return True


def _in(s: Scanner) -> Head:
    s.attempt(lambda s: _word_and_dot(s, Operator.IN))
    return Head(Operator.IN)


def _is(s: Scanner) -> Head:
    s.attempt(lambda s: _word_and_dot(s, Operator.IS))
    value = s.labelled("isVal: (null, not_null, true, false, unknown)", _is_value)
    return Head(Operator.IS, is_value=value)


def _is_value(s: Scanner) -> IsValue:
    return s.either(*(_caseless(value) for value in IsValue))


def _caseless(value: IsValue) -> Callable[[Scanner], IsValue]:
    def rule(s: Scanner) -> IsValue:
        for letter in value:
            _either_case(s, letter)
        return value

    return lambda s: s.attempt(rule)


def _either_case(s: Scanner, letter: str) -> None:
    s.either(lambda s: s.literal(letter), lambda s: s.literal(letter.upper()))


def _isdistinct(s: Scanner) -> Head:
    s.attempt(lambda s: _word_and_dot(s, Operator.ISDISTINCT))
    return Head(Operator.ISDISTINCT)


def _full_text(s: Scanner) -> Head:
    operator = _one_of(s, _FULL_TEXT)
    language = s.maybe(lambda s: s.attempt(lambda s: _in_parentheses(s, identifier)))
    dot(s)
    return Head(operator, language=language)


def _simple(s: Scanner) -> Head:
    operator = _one_of(s, _SIMPLE)
    dot(s)
    return Head(operator)


def _quantified(s: Scanner) -> Head:
    operator = _one_of(s, _QUANTIFIABLE)
    quantifier = s.maybe(lambda s: s.attempt(lambda s: _in_parentheses(s, _quantifier)))
    dot(s)
    return Head(operator, quantifier=quantifier)


def _quantifier(s: Scanner) -> Quantifier:
    return s.either(
        lambda s: s.attempt(lambda s: _word(s, Quantifier.ANY)),
        lambda s: _word(s, Quantifier.ALL),
    )


def _in_parentheses(s: Scanner, rule: Callable[[Scanner], T]) -> T:
    s.literal("(")
    found = rule(s)
    s.literal(")")
    return found


def _one_of(s: Scanner, operators: tuple[Operator, ...]) -> Operator:
    return s.either(*(_attempted(operator) for operator in operators))


def _attempted(operator: Operator) -> Callable[[Scanner], Operator]:
    return lambda s: s.attempt(lambda s: _word(s, operator))


W = TypeVar("W", Operator, Connective, Quantifier)


def _word(s: Scanner, word: W) -> W:
    s.literal(word)
    return word


def _word_and_dot(s: Scanner, word: Operator) -> None:
    s.literal(word)
    dot(s)


def _quoted_element(s: Scanner) -> str:
    text = quoted_value(s)
    s.refuse(_NOT_COMMA)
    return text


def _braced(s: Scanner) -> str:
    s.literal("{")
    inner = s.run(_BRACED)
    s.literal("}")
    return f"{{{inner}}}"


def _opening(s: Scanner) -> None:
    blanks(s)
    s.literal("(")
    blanks(s)


def _closing(s: Scanner) -> None:
    blanks(s)
    s.literal(")")
    blanks(s)
