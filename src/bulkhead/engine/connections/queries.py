"""Named SQL from a `queries.sql` file: SQL reads as SQL, Python as Python.

A query is a line `-- name: get_order`, a comment that says in one sentence what it does, and one
statement. Parameters are `$1`, `$2`, ...
"""

import re
from importlib import resources
from types import SimpleNamespace

_NAME = re.compile(r"^--\s*name:\s*([a-z][a-z0-9_]*)\s*$", re.MULTILINE)


class Queries(SimpleNamespace):
    """The queries of one file, one attribute for each."""

    def __getattr__(self, name: str) -> str:
        """Say which query is missing rather than which attribute."""
        message = f"no query is named '{name}'"
        raise AttributeError(message)


def load_queries(package: str, file: str = "queries.sql") -> Queries:
    """Load the queries of `file` in `package`; raises ValueError for a malformed file."""
    return parse_queries(resources.files(package).joinpath(file).read_text(encoding="utf-8"))


def parse_queries(text: str) -> Queries:
    """Split a file into its named statements; raises ValueError for a name used twice."""
    parts = _NAME.split(text)
    if parts[0].strip() and not all(
        line.startswith("--") or not line.strip() for line in parts[0].splitlines()
    ):
        message = "a statement stands before the first '-- name:'"
        raise ValueError(message)
    found: dict[str, str] = {}
    for name, body in zip(parts[1::2], parts[2::2], strict=True):
        if name in found:
            message = f"query '{name}' is there twice"
            raise ValueError(message)
        found[name] = _statement(name, body)
    return Queries(**found)


def _statement(name: str, body: str) -> str:
    lines = body.strip().splitlines()
    while lines and lines[0].lstrip().startswith("--"):
        lines.pop(0)
    statement = "\n".join(lines).strip().rstrip(";")
    if not statement:
        message = f"query '{name}' is empty"
        raise ValueError(message)
    return statement
