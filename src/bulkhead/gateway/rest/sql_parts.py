"""Names, columns and parameters as they stand in SQL."""

from __future__ import annotations

import re
from collections.abc import Iterable

from bulkhead.engine.connections.sql import identifier, literal
from bulkhead.gateway.rest.errors import QueryInvalid
from bulkhead.gateway.rest.plan_tree import PlanField, PlanOrder
from bulkhead.gateway.rest.query import JsonStep, Value
from bulkhead.gateway.rest.schema import Name
from bulkhead.gateway.rest.statement import Bind, TextBind

_TEXT_TYPES = frozenset({"text", "character varying"})
"""What compares as text does; no cast is needed."""
_CAST = re.compile(r"[\w$]+(?: +[\w$]+)*")


class Parameters:
    """The parameters of a statement that is being rendered; equal ones are one."""

    def __init__(self) -> None:
        """Begin without any."""
        self._numbers: dict[Bind, int] = {}

    @property
    def binds(self) -> tuple[Bind, ...]:
        """What fills them, in their order."""
        return tuple(self._numbers)

    def add(self, bind: Bind, wire_type: str) -> str:
        """Render a parameter that is sent as `wire_type`."""
        return f"{self.add_untyped(bind)}::{wire_type}"

    def add_untyped(self, bind: Bind) -> str:
        """Render a parameter whose type the server finds out."""
        return f"${self._numbers.setdefault(bind, len(self._numbers) + 1)}"

    def text(self, value: Value) -> str:
        """Render a text of the address."""
        return self.add(TextBind(value), "text")


def quote(name: str) -> str:
    """Quote a name; like PostgreSQL's own clients, end it before a NUL."""
    return identifier(name.partition("\0")[0])


def quote_name(name: Name) -> str:
    """Quote a qualified name."""
    return f"{quote(name.schema)}.{quote(name.name)}" if name.schema else quote(name.name)


def quote_column(source: Name, column: str) -> str:
    """Quote a column of a table or of an alias; `*` is all of them."""
    return f"{quote_name(source)}.{'*' if column == '*' else quote(column)}"


def quote_all(names: Iterable[str]) -> str:
    """Quote names for a list."""
    return ", ".join(quote(name) for name in names)


def render_cast(expression: str, type_name: str) -> str:
    """Cast to a type that the schema names."""
    return expression if type_name in _TEXT_TYPES else f"cast({expression} as {type_name})"


def render_asked_cast(expression: str, type_name: str) -> str:
    """Cast to a type that the request names: words only, which cannot be quoted.

    Quoting would make other types of `int` or `double precision`.
    """
    if _CAST.fullmatch(type_name) is None:
        raise QueryInvalid(position=f"failed to parse cast ({type_name})")
    return f"cast({expression} as {type_name})"


def render_field(source: Name, field: PlanField) -> str:
    """Render a column, or what is inside it."""
    if field.is_row:
        return quote(source.name)
    column = quote_column(source, field.name)
    if not field.path:
        return column
    start = f"to_jsonb({column})" if field.to_jsonb else column
    return start + "".join(_render_step(step) for step in field.path)


def render_shown(source: Name, field: PlanField) -> str:
    """Render a column through the function that shows it, if it has one."""
    plain = render_field(source, field)
    return plain if field.transform is None else f"{field.transform}({plain})"


def render_order(terms: Iterable[PlanOrder], source: Name) -> str:
    """Render an `order by` clause; empty without terms."""
    rendered = [_render_term(term, source) for term in terms]
    return " order by " + ", ".join(rendered) if rendered else ""


def _render_term(term: PlanOrder, source: Name) -> str:
    of = source if term.alias is None else Name("", term.alias)
    parts = [render_field(of, term.field)]
    if term.direction is not None:
        parts.append(term.direction.value)
    if term.nulls is not None:
        parts.append(term.nulls.value.replace("nulls", "nulls "))
    return " ".join(parts)


def _render_step(step: JsonStep) -> str:
    """Render a step; a constant lets the server use an index on the expression."""
    key = literal(step.key.partition("\0")[0])
    return ("->>" if step.as_text else "->") + (f"{key}::integer" if step.is_index else key)
