"""Names in the quotes of each dialect, and the names that a dialect cannot have."""

import unicodedata
from collections.abc import Iterable
from typing import Final

from bulkhead.engine.connections.sql import identifier
from bulkhead.engine.drivers.protocol import Dialect
from bulkhead.engine.extract.model import SchemaUnsupported

POSTGRESQL_BYTES_MAX: Final = 63
MYSQL_CHARACTERS_MAX: Final = 64
MYSQL_LAST_CHARACTER: Final = "\uffff"


def quote(name: str, dialect: Dialect) -> str:
    """`name` in quotes, so that it can be nothing but a name; raises SchemaUnsupported."""
    _check(name, dialect)
    if dialect is Dialect.POSTGRESQL:
        return identifier(name)
    return "`" + name.replace("`", "``") + "`"


def quote_list(names: Iterable[str], dialect: Dialect) -> str:
    """Names between commas."""
    return ", ".join(quote(name, dialect) for name in names)


def quote_text(text: str, dialect: Dialect) -> str:
    """A string; raises SchemaUnsupported for one that means one thing or another on MySQL.

    Whether a backslash is a character there depends on the session.
    """
    if "\0" in text or (dialect is Dialect.MYSQL and "\\" in text):
        raise SchemaUnsupported(
            dialect=dialect, what=f"the text {text!r}", reason="has a NUL or a backslash"
        )
    return "'" + text.replace("'", "''") + "'"


def sendable(statement: str, dialect: Dialect) -> str:
    """A whole statement as a `ServerConnection` takes it: a per cent begins a placeholder there."""
    return statement.replace("%", "%%") if dialect is Dialect.MYSQL else statement


def in_brackets(names: Iterable[str]) -> str:
    """Names as they are compared, in one way for both dialects."""
    return ", ".join("[" + name.replace("]", "]]") + "]" for name in names)


def check_distinct(what: str, names: Iterable[str], dialect: Dialect) -> None:
    """Pass when the server can tell all names apart; raises SchemaUnsupported."""
    seen: dict[str, str] = {}
    for name in names:
        folded = name if dialect is Dialect.POSTGRESQL else _fold(name)
        if folded in seen:
            raise SchemaUnsupported(
                dialect=dialect, what=f"the {what} '{name}'", reason=f"is also '{seen[folded]}'"
            )
        seen[folded] = name


def _check(name: str, dialect: Dialect) -> None:
    reason = None
    if not name or "\0" in name:
        reason = "is empty or has a NUL"
    elif any("\ud800" <= character <= "\udfff" for character in name):
        reason = "has a lone surrogate"
    elif dialect is Dialect.POSTGRESQL and len(name.encode()) > POSTGRESQL_BYTES_MAX:
        reason = f"has more than {POSTGRESQL_BYTES_MAX} bytes"
    elif dialect is Dialect.MYSQL:
        reason = _find_mysql_reason(name)
    if reason is not None:
        raise SchemaUnsupported(dialect=dialect, what=f"the name {name!r}", reason=reason)


def _find_mysql_reason(name: str) -> str | None:
    if len(name) > MYSQL_CHARACTERS_MAX:
        return f"has more than {MYSQL_CHARACTERS_MAX} characters"
    if name.endswith(" "):
        return "ends with a space"
    if max(name) > MYSQL_LAST_CHARACTER:
        return "has a character beyond the basic plane"
    return None


def _fold(name: str) -> str:
    """Names differ neither by case nor by accents on MySQL."""
    decomposed = unicodedata.normalize("NFKD", name)
    return "".join(c for c in decomposed if not unicodedata.combining(c)).casefold()
