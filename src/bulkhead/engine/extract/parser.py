"""Read an expression as people write it, and as PostgreSQL, MySQL and MariaDB write it back.

Precedence is that of the servers. Casts are read and left out: a server adds them where it likes.
"""

from typing import Final

from bulkhead.engine.drivers.protocol import Dialect
from bulkhead.engine.extract import node as nodes
from bulkhead.engine.extract.node import Node
from bulkhead.engine.extract.tokens import (
    END,
    ExpressionUnreadable,
    Token,
    TokenKind,
    split_tokens,
)

DEPTH_MAX: Final = 60
_OR, _AND, _NOT, _IS, _COMPARE, _LIKE, _OTHER, _SUM, _PRODUCT, _SIGN = range(1, 11)
_SPELLINGS: Final = {
    "!=": "<>",
    "~~": "like",
    "!~~": "not like",
    "~~*": "ilike",
    "!~~*": "not ilike",
    "~": "regexp",
    "!~": "not regexp",
    "rlike": "regexp",
    "mod": "%",
}
_BINDINGS: Final = {
    "or": _OR,
    "and": _AND,
    "is": _IS,
    **dict.fromkeys(("=", "<", ">", "<=", ">=", "<>", "<=>"), _COMPARE),
    **dict.fromkeys(("not", "in", "between", "like", "ilike", "regexp"), _LIKE),
    **dict.fromkeys(("not like", "not ilike", "not regexp"), _LIKE),
    **dict.fromkeys(("+", "-"), _SUM),
    **dict.fromkeys(("*", "/", "%", "div"), _PRODUCT),
}
_FUNCTIONS: Final = {
    Dialect.POSTGRESQL: {"character_length": "char_length"},
    Dialect.MYSQL: {
        "character_length": "char_length",
        "ucase": "upper",
        "lcase": "lower",
        "length": "octet_length",
        "current_timestamp": "now",
    },
}
_NUMERIC_TYPES: Final = frozenset(
    {"integer", "int", "bigint", "smallint", "numeric", "decimal", "double precision", "real"}
)
_TYPE_WORDS: Final = frozenset({"varying", "precision", "with", "without", "time", "zone"})
_TRIMS: Final = {"both": "btrim", "leading": "ltrim", "trailing": "rtrim"}
_RESERVED: Final = frozenset(_BINDINGS) | {"then", "else", "end", "when", "from", "where", "as"}
_CLOSING: Final = frozenset("()[],.;")


def parse(text: str, dialect: Dialect) -> Node:
    """The tree of an expression; raises ExpressionUnreadable."""
    return _Parser(split_tokens(text, dialect), dialect).parse()


class _Parser:
    def __init__(self, tokens: list[Token], dialect: Dialect) -> None:
        self.tokens = tokens
        self.dialect = dialect
        self.position = 0
        self.depth = 0
        self.selects = 0

    def parse(self) -> Node:
        found = self._expression(0)
        if self._next is not END:
            raise ExpressionUnreadable(self._next.value)
        return found

    @property
    def _next(self) -> Token:
        return self.tokens[self.position] if self.position < len(self.tokens) else END

    def _take(self) -> Token:
        token = self._next
        self.position += 1
        return token

    def _is(self, *values: str) -> bool:
        return self._next.kind in (TokenKind.WORD, TokenKind.MARK) and self._next.value in values

    def _accept(self, *values: str) -> str | None:
        return self._take().value if self._is(*values) else None

    def _expect(self, value: str) -> None:
        if self._accept(value) is None:
            message = f"{value} expected, {self._next.value} found"
            raise ExpressionUnreadable(message)

    def _expression(self, level: int) -> Node:
        self.depth += 1
        if self.depth > DEPTH_MAX:
            message = "too deep"
            raise ExpressionUnreadable(message)
        left = self._operand()
        while (operator := self._operator()) and (binding := _binding(operator)) > level:
            self._take()
            left = self._continue(left, operator, binding)
        self.depth -= 1
        return left

    def _operand(self) -> Node:
        if self._accept("not"):
            return self._negated(self._expression(_NOT))
        if self._accept("!"):
            return self._negated(self._expression(_SIGN))
        if sign := self._accept("-", "+"):
            return nodes.signed(sign, self._expression(_SIGN))
        found = self._primary()
        while self._accept("::"):
            found = self._cast_to(found)
        return found

    def _operator(self) -> str | None:
        token = self._next
        value = _SPELLINGS.get(token.value, token.value)
        if token.kind is TokenKind.WORD:
            return value if value in _BINDINGS else None
        is_mark = token.kind is TokenKind.MARK and token.value not in _CLOSING
        return value if is_mark and token.value != "::" else None

    def _continue(self, left: Node, operator: str, binding: int) -> Node:
        match operator:
            case "and" | "or":
                return nodes.joined(operator, left, self._expression(binding))
            case "is":
                return self._is_what(left)
            case "not":
                word = self._operator()
                if word not in ("in", "between", "like", "ilike", "regexp"):
                    raise ExpressionUnreadable(str(word))
                self._take()
                return self._negated(self._continue(left, word, _LIKE))
            case "in":
                return self._in(left)
            case "between":
                low = self._expression(_LIKE)
                self._expect("and")
                return nodes.between(left, low, self._expression(_LIKE))
        if self._is("any", "all"):
            return self._any_or_all(left, operator)
        right = self._expression(binding)
        if operator.startswith("not "):
            return self._negated((operator.removeprefix("not "), left, right))
        return nodes.operation(operator, left, right)

    def _negated(self, node: Node) -> Node:
        return nodes.negated(node, truth_is_number=self.dialect is Dialect.MYSQL)

    def _in(self, left: Node) -> Node:
        self._expect("(")
        if self._accept("select"):
            return ("in", left, self._select())
        return nodes.membership(left, self._list(")"))

    def _is_what(self, left: Node) -> Node:
        is_negated = self._accept("not") is not None
        if self._accept("distinct"):
            self._expect("from")
            found: Node = ("is distinct from", left, self._expression(_COMPARE))
        else:
            found = ("is", left, ("word", self._take().value))
        return self._negated(found) if is_negated else found

    def _any_or_all(self, left: Node, operator: str) -> Node:
        word = self._take().value
        items = self._parenthesized()
        if len(items) == 1 and items[0][0] == "array":
            if (word, operator) == ("any", "="):
                return nodes.membership(left, items[0][1:])
            if (word, operator) == ("all", "<>"):
                return self._negated(nodes.membership(left, items[0][1:]))
        return (operator, left, (word, *items))

    def _cast_to(self, found: Node) -> Node:
        # The server writes a negative number as a text with a cast.
        return nodes.as_number(found) if self._type_name() in _NUMERIC_TYPES else found

    def _type_name(self) -> str:
        words = [self._take().value]
        if self._accept("."):
            words = [self._take().value]
        for _ in range(2):
            while self._next.kind is TokenKind.WORD and self._next.value in _TYPE_WORDS:
                words.append(self._take().value)
            if self._is("("):
                self._parenthesized()
        while self._accept("["):
            self._expect("]")
        return " ".join(words)

    def _parenthesized(self) -> tuple[Node, ...]:
        self._expect("(")
        return self._list(")")

    def _list(self, closing: str) -> tuple[Node, ...]:
        items: list[Node] = []
        while not self._is(closing):
            items.append(self._expression(0))
            if self._accept(",") is None:
                break
        self._expect(closing)
        return tuple(items)

    def _primary(self) -> Node:
        token = self._take()
        match token.kind:
            case TokenKind.TEXT:
                return nodes.text(token.value)
            case TokenKind.NUMBER:
                return nodes.number(token.value)
            case TokenKind.NAME:
                return self._named(token.value)
            case TokenKind.WORD:
                return self._word(token.value)
            case TokenKind.MARK if token.value == "(":
                if self._accept("select"):
                    return self._select()
                items = self._list(")")
                return items[0] if len(items) == 1 else ("row", *items)
        raise ExpressionUnreadable(token.value)

    def _select(self) -> Node:
        """`x [from t [a] [where ...]])`: what stands after the word select."""
        self.selects += 1
        found: Node = ("select", self._expression(0))
        if self._accept("as"):
            self._take()
        if self._accept("from"):
            found = (*found, ("from", *self._relation()))
            if self._accept("where"):
                found = (*found, ("where", self._expression(0)))
        self._expect(")")
        self.selects -= 1
        return found

    def _relation(self) -> tuple[Node, Node]:
        is_grouped = self._accept("(")
        name = self._take().value
        if self._accept("."):
            name = self._take().value
        self._accept("as")
        alias = name if self._is("where", ")") else self._take().value
        if is_grouped:
            self._expect(")")
        return ("name", name), ("name", alias)

    def _word(self, word: str) -> Node:
        match word:
            case "true" | "false" if self.dialect is Dialect.MYSQL:
                return nodes.number(str(int(word == "true")))
            case "true" | "false" | "null":
                return ("word", word)
            case "case":
                return self._case()
            case "array" if self._accept("["):
                return ("array", *self._list("]"))
            case "cast" if self._accept("("):
                return self._cast()
            case "exists" if self._is("("):
                return ("exists", self._primary())
            case "current_timestamp" if not self._is("("):
                return ("call", "now")
        return self._other(word)

    def _other(self, word: str) -> Node:
        if word in _RESERVED:
            raise ExpressionUnreadable(word)
        return self._typed(word) if self._next.kind is TokenKind.TEXT else self._named(word)

    def _typed(self, type_name: str) -> Node:
        """`date '2026-01-01'`, which is a cast."""
        found = nodes.text(self._take().value)
        return nodes.as_number(found) if type_name in _NUMERIC_TYPES else found

    def _named(self, name: str) -> Node:
        """A function; or a column, with its table only within a sub-select."""
        parts = [name]
        while self._accept("."):
            parts.append(self._take().value)
        if self._accept("("):
            # What stands in the server's own schema may be written without it.
            schema = [part for part in parts[:-1] if part != "pg_catalog"]
            return self._call(".".join([*schema, parts[-1]]))
        return ("name", *(parts[-2:] if self.selects else parts[-1:]))

    def _call(self, name: str) -> Node:
        if self.dialect is Dialect.MYSQL:
            name = name.lower()
        name = _FUNCTIONS[self.dialect].get(name, name)
        if name == "trim":
            return self._trim()
        arguments = self._list(")")
        if name == "regexp_like" and len(arguments) > 1:
            return nodes.operation("regexp", *arguments[:2])
        return ("call", name, *arguments)

    def _trim(self) -> Node:
        name = _TRIMS[self._accept(*_TRIMS) or "both"]
        what = () if self._is("from") else (self._expression(0),)
        if self._accept("from", ","):
            what = (self._expression(0), *what)
        self._expect(")")
        return ("call", name, *what)

    def _cast(self) -> Node:
        found = self._expression(0)
        self._expect("as")
        found = self._cast_to(found)
        if self._accept("charset"):
            self._take()
        self._expect(")")
        return found

    def _case(self) -> Node:
        found: Node = ("case",) if self._is("when") else ("case", self._expression(0))
        while self._accept("when"):
            condition = self._expression(0)
            self._expect("then")
            found = (*found, ("when", condition, self._expression(0)))
        if self._accept("else"):
            found = (*found, ("else", self._expression(0)))
        self._expect("end")
        return found


def _binding(operator: str) -> int:
    return _BINDINGS.get(operator, _OTHER)
