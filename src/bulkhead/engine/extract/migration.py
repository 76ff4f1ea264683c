"""The first migration of a fleet, rendered from the declaration; those after it are written."""

from bulkhead.engine.extract.access import CLIENT_ROLES
from bulkhead.engine.extract.model import Extracted

_GUARD = "$access$"


def render_migration(extracted: Extracted, title: str) -> str:
    """The text of a migration file that makes everything, and takes it back.

    What names the roles of clients happens where they exist: a server that its owner runs may have
    none of them.
    """
    parts = [f"-- {title}"]
    parts += [f"{statement};" for statement in _statements(extracted)]
    if access := [statement for table in extracted.tables for statement in table.access]:
        parts.append(_guarded(access))
    parts.append("-- migrate:down\n" + "\n".join(f"{each};" for each in extracted.drops))
    return "\n\n".join(parts) + "\n"


def _statements(extracted: Extracted) -> list[str]:
    parts = ("indexes", "foreign_keys", "row_security", "comments")
    statements = [table.create for table in extracted.tables]
    for part in parts:
        statements += [each for table in extracted.tables for each in getattr(table, part)]
    return statements


def _guarded(statements: list[str]) -> str:
    assert not any(_GUARD in statement for statement in statements), "the quote is nobody's"
    needs = [f"to_regrole('{role}')" for role in CLIENT_ROLES] + ["to_regprocedure('auth.uid()')"]
    conditions = "\n    and ".join(f"{each} is not null" for each in needs)
    lines = [line for statement in statements for line in f"{statement};".splitlines()]
    body = "\n".join(f"    {line}" for line in lines)
    return f"do {_GUARD}\nbegin\n  if {conditions}\n  then\n{body}\n  end if;\nend\n{_GUARD};"
