"""Bring expressions to one form, so that what was declared equals what the server wrote down.

Both servers parse a CHECK, a default or a policy and write it back in their own words: with casts,
parentheses and names in full, `in` as `= any (array[...])`, `between` as two comparisons. The form
here has none of that. Where two expressions get the same form they mean the same, casts apart. What
is not understood is compared token by token, and then differs rather sooner than later: a
difference is reported to somebody, it is never mended by itself.
"""

from functools import lru_cache

from bulkhead.engine.drivers.protocol import Dialect
from bulkhead.engine.extract.node import render
from bulkhead.engine.extract.parser import parse
from bulkhead.engine.extract.tokens import (
    ExpressionUnreadable,
    Token,
    TokenKind,
    split_tokens,
)

KEPT_CHARACTERS_MAX = 500


def canonical(text: str | None, dialect: Dialect) -> str:
    """The one form of an expression; an empty text for none."""
    if text is None or not text.strip():
        return ""
    return (_canonical if len(text) > KEPT_CHARACTERS_MAX else _kept)(text, dialect)


def _canonical(text: str, dialect: Dialect) -> str:
    try:
        return render(parse(text, dialect))
    except ExpressionUnreadable:
        return _without_sense(text, dialect)


# All databases of a fleet have the same expressions.
_kept = lru_cache(maxsize=4096)(_canonical)


def _without_sense(text: str, dialect: Dialect) -> str:
    try:
        tokens = split_tokens(text, dialect)
    except ExpressionUnreadable:
        return f"unreadable: {text.strip()}"
    return "tokens: " + " ".join(_plain(token) for token in tokens)


def _plain(token: Token) -> str:
    match token.kind:
        case TokenKind.TEXT:
            return render(("text", token.value))
        case TokenKind.NAME:
            return render(("name", token.value))
    return token.value
