"""Query strings for the tests: rendered from values, and drawn at random."""

from collections.abc import Mapping
from urllib.parse import quote

from hypothesis import strategies as st

from bulkhead.gateway.rest.query import (
    Aggregate,
    Condition,
    Connective,
    Direction,
    Field,
    Filter,
    IsValue,
    Join,
    JsonStep,
    Logic,
    Nulls,
    Operator,
    OrderTerm,
    Quantifier,
    SelectEmbed,
    SelectField,
    SelectItem,
    Slot,
)

QUANTIFIABLE = (Operator.EQ, Operator.GT, Operator.LIKE, Operator.IMATCH)
FULL_TEXT = (Operator.FTS, Operator.PLAIN_FTS, Operator.PHRASE_FTS, Operator.WEB_FTS)

# A name that needs quotes now and then; never one of the words that the grammar gives a meaning.
names = st.one_of(
    st.from_regex(r"\A[a-z_][a-z0-9_]{0,6}\Z"),
    st.text(alphabet='aé \\".,:()->$日', min_size=1, max_size=6),
)
columns = names.filter(lambda name: name not in ("count", "select", "columns", "on_conflict"))
paths = st.lists(
    st.one_of(
        st.builds(JsonStep, names, st.just(value=False), st.booleans()),
        st.builds(JsonStep, st.integers(-9, 99).map(str), st.just(value=True), st.booleans()),
    ),
    max_size=2,
).map(tuple)
fields = st.builds(Field, columns, paths)
types = st.sampled_from(["text", "int4", "double precision"])
# Strategies that are made where they are drawn from cost more than what is drawn.
booleans = st.booleans()
aliases = st.none() | columns
casts = st.none() | types
aggregates = st.none() | st.sampled_from(Aggregate)
joins = st.none() | st.sampled_from(Join)
hints = st.none() | columns.filter(lambda name: name not in tuple(Join))
languages = st.none() | st.sampled_from(["english", "my dict"])
quantifiers = st.none() | st.sampled_from(Quantifier)
operators = st.sampled_from(Operator)
is_values = st.sampled_from(IsValue)
texts = st.text(max_size=8)
connectives = st.sampled_from(Connective)
sizes = st.integers(1, 3)
order_terms = st.builds(
    OrderTerm,
    fields,
    aliases,
    st.none() | st.sampled_from(Direction),
    st.none() | st.sampled_from(Nulls),
)


@st.composite
def select_fields(draw: st.DrawFn) -> SelectField:
    aggregate = draw(aggregates)
    alias = draw(aliases)
    if aggregate is Aggregate.COUNT and draw(booleans):
        return SelectField(Field("*"), alias, None, aggregate, draw(casts))
    aggregate_cast = draw(casts) if aggregate else None
    return SelectField(draw(fields), alias, draw(casts), aggregate, aggregate_cast)


def _embeds(items: st.SearchStrategy[SelectItem]) -> st.SearchStrategy[SelectEmbed]:
    inner = st.lists(items, max_size=3).map(tuple)
    return st.one_of(
        st.builds(SelectEmbed, columns, inner, aliases, hints, joins, st.just(value=False)),
        st.builds(SelectEmbed, columns, inner, st.none(), hints, joins, st.just(value=True)),
    )


selects: st.SearchStrategy[SelectItem] = st.recursive(
    select_fields() | st.just(SelectField(Field("*"))), _embeds, max_leaves=6
)


@st.composite
def filters(draw: st.DrawFn) -> tuple[Filter, str]:
    """A condition, and its value apart."""
    column, negated = draw(fields), draw(booleans)
    operator = draw(operators)
    if operator is Operator.IS:
        return Filter(column, operator, negated=negated, is_value=draw(is_values)), ""
    language, quantifier = draw(languages), draw(quantifiers)
    found = Filter(
        column,
        operator,
        Slot(0),
        negated=negated,
        quantifier=quantifier if operator in QUANTIFIABLE else None,
        language=language if operator in FULL_TEXT else None,
    )
    text = draw(texts)
    return found, render_list([text, "b"]) if operator is Operator.IN else text


def render_name(name: str) -> str:
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"' if not (name.isascii() and name.isidentifier()) else name


def render_list(values: list[str]) -> str:
    quoted = (value.replace("\\", "\\\\").replace('"', '\\"') for value in values)
    return "(" + ",".join(f'"{value}"' for value in quoted) + ")"


def render_field(field: Field) -> str:
    steps = [
        ("->>" if step.as_text else "->") + (step.key if step.is_index else _quoted(step.key))
        for step in field.path
    ]
    return ("*" if field.name == "*" else render_name(field.name)) + "".join(steps)


def render_select(items: tuple[SelectItem, ...]) -> str:
    return ",".join(
        _render_embed(item) if isinstance(item, SelectEmbed) else _render_select_field(item)
        for item in items
    )


def render_order(terms: tuple[OrderTerm, ...]) -> str:
    return ",".join(_render_term(term) for term in terms)


def render_head(condition: Filter) -> str:
    words = ["not."] if condition.negated else []
    words.append(condition.operator)
    if condition.quantifier:
        words.append(f"({condition.quantifier})")
    if condition.language:
        words.append(f"({condition.language})")
    words.append(f".{condition.is_value or ''}")
    return "".join(words)


def render_condition(condition: Condition, values: Mapping[int, str]) -> str:
    """As it stands in a group, with its values in quotes."""
    if isinstance(condition, Logic):
        items = ",".join(render_condition(item, values) for item in condition.items)
        return f"{'not.' if condition.negated else ''}{condition.connective}({items})"
    head = f"{render_field(condition.field)}.{render_head(condition)}"
    if not isinstance(condition.value, Slot):
        return head
    value = values[condition.value.index]
    return head + (value if condition.operator is Operator.IN else _quoted(value))


def render_query(pairs: list[tuple[str, str]]) -> bytes:
    return "&".join(f"{quote(key)}={quote(value, safe='')}" for key, value in pairs).encode()


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _render_select_field(item: SelectField) -> str:
    alias = f"{render_name(item.alias)}:" if item.alias is not None else ""
    cast = f"::{item.cast}" if item.cast else ""
    last = f"::{item.aggregate_cast}" if item.aggregate_cast else ""
    if item.aggregate is Aggregate.COUNT and item.field == Field("*"):
        return f"{alias}count(){last}"
    aggregate = f".{item.aggregate}()" if item.aggregate else ""
    return f"{alias}{render_field(item.field)}{cast}{aggregate}{last}"


def _render_embed(item: SelectEmbed) -> str:
    head = "..." if item.is_spread else ""
    if item.alias is not None:
        head += f"{render_name(item.alias)}:"
    head += render_name(item.relation)
    head += f"!{render_name(item.hint)}" if item.hint is not None else ""
    head += f"!{item.join}" if item.join else ""
    return f"{head}({render_select(item.items)})"


def _render_term(term: OrderTerm) -> str:
    field = render_field(term.field)
    if term.relation is not None:
        field = f"{render_name(term.relation)}({field})"
    return ".".join([field, *(word for word in (term.direction, term.nulls) if word)])


_filters = filters()


@st.composite
def groups(draw: st.DrawFn) -> tuple[Logic, dict[int, str]]:
    """A group with its values by slot."""
    values: dict[int, str] = {}

    def build(depth: int) -> Condition:
        if depth and draw(booleans):
            items = tuple(build(depth - 1) for _ in range(draw(sizes)))
            return Logic(draw(connectives), items, draw(booleans))
        condition, value = draw(_filters)
        if condition.operator is Operator.IS:
            return condition
        slot = Slot(len(values))
        values[slot.index] = value
        return Filter(
            condition.field,
            condition.operator,
            slot,
            condition.negated,
            condition.quantifier,
            condition.language,
        )

    items = tuple(build(2) for _ in range(draw(sizes)))
    return Logic(draw(connectives), items, draw(booleans)), values
