r"""Names, texts, patterns and placeholders in the SQL of MySQL and MariaDB.

What a session quotes with depends on its `sql_mode`; every session of ours sets its own, in which
strings stand in single quotes and a backslash escapes. Backticks mean the same in every mode.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from bulkhead.engine.drivers.protocol import DatabaseSpec, Login
from bulkhead.engine.errors import Invalid

NAME_CHARACTERS_MAX = 64
ACCOUNT_CHARACTERS_MAX = 32
"""MySQL's; MariaDB takes longer ones."""
ACCOUNT_PREFIX_CHARACTERS = 15
BASIC_PLANE_LAST = "\uffff"
KNOWN_CHARACTERS_MAX = 16384
"""Longer statements are parsed each time instead of being kept."""
SPACES = (" ", "\t", "\n", "\v", "\f", "\r")
_ESCAPES = str.maketrans(
    {"'": "''", "\\": "\\\\", "\0": "\\0", "\n": "\\n", "\r": "\\r", "\x1a": "\\Z"}
)
_PERCENT = re.compile(r"%(.?)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Query:
    """A statement with the server's own placeholders."""

    text: str
    placeholders: int


def quote_name(name: str) -> str:
    """Render an identifier, the same in every `sql_mode`; raises Invalid for an impossible one."""
    if not name or len(name) > NAME_CHARACTERS_MAX:
        raise Invalid(reason=f"a name has 1 to {NAME_CHARACTERS_MAX} characters")
    if name.endswith(SPACES) or "\0" in name or max(name) > BASIC_PLANE_LAST:
        raise Invalid(
            reason="a name on MySQL ends with no space, and has neither a NUL nor a character "
            "beyond the basic plane"
        )
    if any("\ud800" <= character <= "\udfff" for character in name):
        raise Invalid(reason="a name has no lone surrogate")
    return "`" + name.replace("`", "``") + "`"


def quote_text(text: str) -> str:
    """Render a string for a session of ours, in which a backslash escapes."""
    return "'" + text.translate(_ESCAPES) + "'"


def quote_pattern(database: str) -> str:
    """Render a database for GRANT, where `_` and `%` would stand for other characters."""
    return quote_name(database).replace("_", "\\_").replace("%", "\\%")


def quote_account(user: str) -> str:
    """Render an account that may come from everywhere."""
    return f"{quote_text(user)}@'%'"


def account_of(spec: DatabaseSpec, login: Login) -> str:
    """The account of `login`; a name too long for MySQL is cut and told apart by a hash."""
    name = spec.login(login)
    if len(name) <= ACCOUNT_CHARACTERS_MAX:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{name[:ACCOUNT_PREFIX_CHARACTERS]}_{digest}_{login.value}"


def native_hash(password: str) -> str:
    """What a server stores for `password` under mysql_native_password.

    Made here, so that the password itself stands in no statement. It is as good as the password is
    random, and ours have 256 bits.
    """
    once = hashlib.sha1(password.encode(), usedforsecurity=False).digest()
    return "*" + hashlib.sha1(once, usedforsecurity=False).hexdigest().upper()


def parse_query(sql: str) -> Query:
    """Turn `%s` into the server's placeholder and `%%` into a per cent; others stay themselves.

    Raises Invalid for a NUL character or a lone surrogate, which no statement has.
    """
    return _parse_known(sql) if len(sql) <= KNOWN_CHARACTERS_MAX else _parse(sql)


def _parse(sql: str) -> Query:
    if "\0" in sql or any("\ud800" <= character <= "\udfff" for character in sql):
        raise Invalid(reason="a statement has neither a NUL character nor a lone surrogate")
    found = 0

    def replace(match: re.Match[str]) -> str:
        nonlocal found
        follower = match[1]
        if follower == "s":
            found += 1
            return "?"
        return "%" if follower == "%" else match[0]

    return Query(_PERCENT.sub(replace, sql), found)


_parse_known = lru_cache(maxsize=4096)(_parse)


def render_settings(settings: Mapping[str, str]) -> str:
    """Render one statement that sets session variables; values are SQL."""
    return "set " + ", ".join(f"session {name} = {value}" for name, value in settings.items())
