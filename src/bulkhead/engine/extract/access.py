"""Who may do what with a table, declared beside it in `Table.info`: PostgreSQL's policies, grants.

Where the roles of clients do not exist, as on a server that its owner runs, none of it is made and
the table's owner alone has it. MySQL has no row level security; there a database has one login.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bulkhead.engine.connections.sql import identifier
from bulkhead.engine.drivers.protocol import Dialect
from bulkhead.engine.extract.expression import canonical
from bulkhead.engine.extract.model import Key, Kind, SchemaObject

INFO = "access"
CLIENT_ROLES = ("anon", "authenticated")
SCHEMA = "public"


@dataclass(frozen=True, slots=True)
class TablePolicy:
    """A permissive policy. Columns within a sub-select are written with their table."""

    name: str
    command: str
    """select, insert, update, delete or all."""
    roles: tuple[str, ...]
    using: str | None = None
    check: str | None = None


@dataclass(frozen=True, slots=True)
class TableAccess:
    """What stands under `access` in the info of a table: `info={"access": TableAccess(...)}`."""

    policies: tuple[TablePolicy, ...] = ()
    grants: Mapping[str, tuple[str, ...]] | None = None
    """By role, what it may do: `{"anon": ("select",)}`."""

    @classmethod
    def of(cls, info: Mapping[Any, Any]) -> "TableAccess":
        """What `info` says; nothing for anybody when it says nothing."""
        found = info.get(INFO, cls())
        assert isinstance(found, cls), "the access of a table is a TableAccess"
        return found


def belongs_to(table: str, column: str, target: str) -> str:
    """The condition that a row of `target` with this id is there, for whoever may read it."""
    return (
        f"exists (select 1 from {identifier(SCHEMA)}.{identifier(target)} t"
        f" where t.id = {identifier(table)}.{identifier(column)})"
    )


def describe_row_security(table: str, *, forced: bool) -> tuple[SchemaObject, tuple[str, ...]]:
    """Row level security of `table`, which also holds for its owner when `forced`."""
    name = f"{identifier(SCHEMA)}.{identifier(table)}"
    statements = [f"alter table {name} enable row level security"]
    if forced:
        statements.append(f"alter table {name} force row level security")
    facets = {"enabled": "yes", "forced": "yes" if forced else "no"}
    return SchemaObject(Key(Kind.ROW_SECURITY, table, ""), facets), tuple(statements)


def describe_policy(table: str, policy: TablePolicy) -> tuple[SchemaObject, tuple[str, ...]]:
    """A policy of `table`, and the statement that makes it."""
    roles = ", ".join(identifier(role) for role in policy.roles)
    statement = (
        f"create policy {identifier(policy.name)} on {identifier(SCHEMA)}.{identifier(table)}\n"
        f"  for {policy.command} to {roles}"
    )
    statement += f"\n  using ({policy.using})" if policy.using else ""
    statement += f"\n  with check ({policy.check})" if policy.check else ""
    facets = {
        "permissive": "yes",
        "command": policy.command,
        "roles": ", ".join(sorted(policy.roles)),
        "using": canonical(policy.using, Dialect.POSTGRESQL),
        "check": canonical(policy.check, Dialect.POSTGRESQL),
    }
    return SchemaObject(Key(Kind.POLICY, table, policy.name), facets), (statement,)


def revoke_defaults(table: str) -> str:
    """Take back what a server may grant on every new table, as Supabase does."""
    roles = ", ".join(identifier(role) for role in CLIENT_ROLES)
    return f"revoke all on {identifier(SCHEMA)}.{identifier(table)} from public, {roles}"


def describe_grant(table: str, privilege: str, role: str) -> tuple[SchemaObject, tuple[str, ...]]:
    """A privilege of `role` on `table`, and the statement that gives it."""
    statement = (
        f"grant {privilege} on {identifier(SCHEMA)}.{identifier(table)} to {identifier(role)}"
    )
    return SchemaObject(Key(Kind.GRANT, table, f"{privilege} to {role}"), {}), (statement,)
