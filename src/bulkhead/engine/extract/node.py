"""Expressions as trees, built in one form: equal trees for texts that say the same.

A node is a tuple that begins with a word. `in` lists, `between`, negation and chains of `and` and
`or` have one shape each, whichever of its spellings a server prefers.
"""

import re
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal
from typing import Any, Final

Node = tuple[Any, ...]

DIGITS_MAX: Final = 200
_EXACT: Final = Context(prec=DIGITS_MAX, Emax=MAX_EMAX, Emin=MIN_EMIN)
_NUMBER: Final = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,9})?")

FLIPPED: Final = {"=": "=", "<>": "<>", "<": ">", ">": "<", "<=": ">=", ">=": "<="}
OPPOSITES: Final = {"=": "<>", "<>": "=", "<": ">=", ">=": "<", ">": "<=", "<=": ">"}


def text(value: str) -> Node:
    """A string."""
    return ("text", value)


def number(value: str) -> Node:
    """A number, without the zeros that change nothing; a monstrous one as it is written."""
    if len(value) > DIGITS_MAX:
        return ("number", value)
    decimal = Decimal(value).normalize(_EXACT)
    if not decimal:
        return ("number", "0")
    is_short = abs(decimal.adjusted()) <= DIGITS_MAX
    return ("number", f"{decimal:f}" if is_short else str(decimal))


def as_number(node: Node) -> Node:
    """A string that is cast to a number, as that number; any other node as it is."""
    is_number = node[0] == "text" and _NUMBER.fullmatch(node[1])
    return number(node[1]) if is_number else node


def operation(operator: str, left: Node, right: Node) -> Node:
    """Two operands and what stands between them; a number that is compared stands on the right."""
    if operator in FLIPPED and left[0] == "number" and right[0] != "number":
        return (FLIPPED[operator], right, left)
    return (operator, left, right)


def joined(word: str, *parts: Node) -> Node:
    """`and` or `or` over all parts, however they were grouped."""
    flat: list[Node] = []
    for part in parts:
        flat += part[1:] if part[0] == word else [part]
    return (word, *flat)


def negated(node: Node, *, truth_is_number: bool) -> Node:
    """The negation, drawn inwards as far as it goes, as MariaDB does.

    Where truth is a number, what is no comparison is compared with 0.
    """
    match node:
        case ("not", inner):
            return inner  # type: ignore[no-any-return]
        case ("and" | "or", *parts):
            inverse = [negated(part, truth_is_number=truth_is_number) for part in parts]
            return joined("or" if node[0] == "and" else "and", *inverse)
        case (operator, left, right) if operator in OPPOSITES:
            return (OPPOSITES[operator], left, right)
        case ("name" | "call" | "number", *_) if truth_is_number:
            return ("=", node, ("number", "0"))
    return ("not", node)


def membership(left: Node, items: tuple[Node, ...]) -> Node:
    """`left in (items)`; of one item it is a comparison."""
    return ("=", left, items[0]) if len(items) == 1 else ("in", left, *items)


def between(value: Node, low: Node, high: Node) -> Node:
    """Both limits belong to it."""
    return joined("and", (">=", value, low), ("<=", value, high))


def signed(sign: str, operand: Node) -> Node:
    """A sign and what follows; a negative number is a number."""
    if sign == "+":
        return operand
    if operand[0] != "number":
        return ("-", operand)
    value = operand[1]
    return number(value[1:] if value.startswith("-") else f"-{value}")


def render(node: Node) -> str:
    """The tree as a text that no other tree has."""
    match node:
        case ("text", value):
            return "'" + str(value).replace("'", "''") + "'"
        case ("number" | "word", value):
            return str(value)
        case ("name", *parts):
            return ".".join(_bracketed(part) for part in parts)
        case ("call", name, *arguments):
            return f"({' '.join(['call', _bracketed(name), *map(render, arguments)])})"
    words = (render(part) if isinstance(part, tuple) else str(part) for part in node)
    return f"({' '.join(words)})"


def _bracketed(name: str) -> str:
    return "[" + name.replace("]", "]]") + "]"
