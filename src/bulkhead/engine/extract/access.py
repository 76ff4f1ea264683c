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
OWNER = "{owner}"
"""Stands for the owner of the table, whoever that is."""
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


OWNER_POLICY = TablePolicy("owner_all", "all", (OWNER,), using="true", check="true")
"""Lets migrations see the rows that they change, where row level security is forced."""


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


def enable_row_security(table: str) -> str:
    """Nobody but the owner gets at a row, unless a policy says so."""
    return f"alter table {_qualified(table)} enable row level security"


def force_row_security(table: str) -> tuple[str, ...]:
    """Not even the owner; and nobody has what a server grants on each new table, as Supabase's."""
    roles = ", ".join(identifier(role) for role in CLIENT_ROLES)
    return (
        f"alter table {_qualified(table)} force row level security",
        f"revoke all on {_qualified(table)} from public, {roles}",
    )


def describe_policy(table: str, policy: TablePolicy) -> tuple[SchemaObject, tuple[str, ...]]:
    """A policy of `table`, and the statement that makes it."""
    roles = ", ".join(
        "current_user" if role == OWNER else identifier(role) for role in policy.roles
    )
    statement = (
        f"create policy {identifier(policy.name)} on {_qualified(table)}\n"
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


def describe_grant(table: str, privilege: str, role: str) -> tuple[SchemaObject, tuple[str, ...]]:
    """A privilege of `role` on `table`, and the statement that gives it."""
    statement = f"grant {privilege} on {_qualified(table)} to {identifier(role)}"
    return SchemaObject(Key(Kind.GRANT, table, f"{privilege} to {role}"), {}), (statement,)


def _qualified(table: str) -> str:
    return f"{identifier(SCHEMA)}.{identifier(table)}"
