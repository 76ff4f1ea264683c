"""Split an SQL expression into tokens, as people write it and as servers write it back."""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from bulkhead.engine.drivers.protocol import Dialect


class ExpressionUnreadable(ValueError):
    """Text that is no expression of the part of SQL that is understood here."""


class TokenKind(StrEnum):
    """What a token is."""

    TEXT = "text"
    NAME = "name"
    """In quotes, so that it can be no keyword."""
    NUMBER = "number"
    WORD = "word"
    """A keyword or a name without quotes, in lower case."""
    MARK = "mark"
    """An operator, a parenthesis, a comma."""
    END = "end"


@dataclass(frozen=True, slots=True)
class Token:
    """A token; `value` has lost its quotes."""

    kind: TokenKind
    value: str


END: Final = Token(TokenKind.END, "")

_SPACE = r"(?P<space>\s+)"
_NUMBER = r"(?P<number>(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,9})?)"
_WORD = r"(?P<word>[^\W\d][\w$]*)"
_MARK = r"(?P<mark>::|[(),.;\[\]]|[-+*/<>=~!@#%^&|?]+)"
_PATTERNS: Final = {
    Dialect.POSTGRESQL: re.compile(
        rf"""{_SPACE}|(?P<escaped>[eE]'(?:[^'\\]|''|\\.)*')|(?P<text>'(?:[^']|'')*')"""
        rf"""|(?P<name>"(?:[^"]|"")*")|{_NUMBER}|{_WORD}|{_MARK}""",
        re.DOTALL,
    ),
    # A character set may stand before a string; MySQL writes it back even where nobody wrote it.
    Dialect.MYSQL: re.compile(
        rf"""{_SPACE}|(?P<escaped>(?:_[a-z0-9]+\s*)?'(?:[^'\\]|''|\\.)*')"""
        rf"""|(?P<name>`(?:[^`]|``)*`)|{_NUMBER}|{_WORD}|{_MARK}""",
        re.DOTALL,
    ),
}
_ESCAPE = re.compile(r"\\(.)|''", re.DOTALL)
_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "0": "\0", "Z": "\x1a"}


def split_tokens(text: str, dialect: Dialect) -> list[Token]:
    """The tokens of `text`; raises ExpressionUnreadable where there is none."""
    tokens = []
    position = 0
    while position < len(text):
        match = _PATTERNS[dialect].match(text, position)
        if match is None:
            message = f"no token begins at {text[position : position + 20]!r}"
            raise ExpressionUnreadable(message)
        position = match.end()
        if match.lastgroup != "space":
            tokens.append(_token(str(match.lastgroup), match.group(), dialect))
    return tokens


def _token(group: str, text: str, dialect: Dialect) -> Token:
    match group:
        case "escaped":
            inner = text[text.index("'") + 1 : -1]
            return Token(TokenKind.TEXT, _ESCAPE.sub(lambda m: _unescape(m, dialect), inner))
        case "text":
            return Token(TokenKind.TEXT, text[1:-1].replace("''", "'"))
        case "name":
            return Token(TokenKind.NAME, text[1:-1].replace(text[0] * 2, text[0]))
        case "word":
            return Token(TokenKind.WORD, text.lower())
    return Token(TokenKind(group), text)


def _unescape(match: re.Match[str], dialect: Dialect) -> str:
    if match.group() == "''":
        return "'"
    escaped = match[1]
    if dialect is Dialect.MYSQL and escaped in "%_":
        return match.group()
    return _ESCAPES.get(escaped, escaped)
