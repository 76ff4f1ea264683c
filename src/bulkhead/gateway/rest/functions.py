"""The functions of a database as the schema cache knows them, made of rows of the catalogue."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from bulkhead.gateway.rest.schema import Function, Name, Parameter, ReturnType, Volatility

ISOLATION = "default_transaction_isolation"
SINGLE_TYPES = frozenset({"bytea", "json", "jsonb", "text", "xml"})
"""What an unnamed parameter may be: then it takes the whole body."""

_INPUT = frozenset({"i", "b", "v"})
_OUTPUT = frozenset({"o", "b", "t"})
_UNBOUNDED = {
    "bit": "bit varying",
    "bit[]": "bit varying[]",
    "character": "character varying",
    "character[]": "character varying[]",
}
"""Without a length, these take one character, while a parameter takes any number of them."""


def arrange_functions(
    rows: Iterable[Mapping[str, Any]], hoisted: Sequence[str]
) -> Mapping[Name, Sequence[Function]]:
    """The functions that can be called by name; overloads with few parameters first."""
    arranged: dict[Name, list[Function]] = {}
    for row in rows:
        parameters = tuple(_read_parameters(row))
        if is_callable(parameters):
            function = read_function(row, parameters, hoisted)
            arranged.setdefault(function.name, []).append(function)
    return {name: tuple(sorted(some, key=_rank)) for name, some in arranged.items()}


def is_callable(parameters: Sequence[Parameter]) -> bool:
    """Whether every parameter has a name, or the only one takes the whole body."""
    if all(parameter.name for parameter in parameters):
        return True
    return len(parameters) == 1 and parameters[0].type in SINGLE_TYPES


def read_function(
    row: Mapping[str, Any], parameters: tuple[Parameter, ...], hoisted: Sequence[str]
) -> Function:
    """Make a function of a row of the catalogue and its parameters."""
    modes = row["modes"] or ()
    settings = dict(setting.split("=", 1) for setting in row["settings"] or ())
    return Function(
        name=Name(row["schema"], row["name"]),
        parameters=parameters,
        returns=ReturnType(
            name=Name(row["return_schema"], row["return_name"]),
            is_set=row["returns_set"],
            is_composite=row["returns_row_type"] or not _OUTPUT.isdisjoint(modes),
            is_alias=row["returns_domain"],
        ),
        volatility=Volatility(row["volatility"]),
        has_variadic=row["has_variadic"],
        description=row["description"],
        isolation=_isolation(settings.get(ISOLATION)),
        columns=dict(_read_columns(row)),
        settings=tuple((name, value) for name, value in settings.items() if name in hoisted),
    )


def _read_parameters(row: Mapping[str, Any]) -> Iterator[Parameter]:
    required = row["inputs"] - row["defaults"]
    names = row["names"] or [""] * len(row["types"])
    modes = row["modes"] or ["i"] * len(row["types"])
    inputs = (
        (name, kind, mode)
        for name, kind, mode in zip(names, row["types"], modes, strict=True)
        if mode in _INPUT
    )
    for number, (name, kind, mode) in enumerate(inputs):
        yield Parameter(
            name=name or "",
            type=kind,
            is_required=number < required,
            is_variadic=mode == "v",
            max_length_type=_UNBOUNDED.get(kind, kind),
        )


def _read_columns(row: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The columns of what is returned, where it is no table."""
    for column in row["return_columns"] or ():
        described = json.loads(column)
        yield described["name"], described["type"]
    if row["modes"] is not None and row["names"] is not None:
        for name, kind, mode in zip(row["names"], row["base_types"], row["modes"], strict=True):
            if mode in _OUTPUT and name:
                yield name, kind


def _isolation(level: str | None) -> str | None:
    if level is None:
        return None
    known = level.lower()
    return known if known in {"repeatable read", "serializable"} else "read committed"


def _rank(function: Function) -> tuple[object, ...]:
    """In which order overloads are listed when none of them is the best."""
    return (
        len(function.parameters),
        function.description is not None,
        function.description or "",
        [(each.name, each.type, each.is_required) for each in function.parameters],
    )
