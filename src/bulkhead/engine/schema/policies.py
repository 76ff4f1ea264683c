"""Policies, grants and guards of a database as typed values."""

from collections.abc import Sequence
from dataclasses import dataclass

from bulkhead.engine.connections.queries import load_queries
from bulkhead.engine.connections.sql import identifier
from bulkhead.engine.schema.introspect import Connection, qualified_names
from bulkhead.engine.topology import Verb

QUERIES = load_queries(__package__, "policies.sql")


@dataclass(frozen=True, slots=True)
class Policy:
    """A row level security policy; conditions are texts of the server, None where absent."""

    schema: str
    table: str
    name: str
    is_permissive: bool
    verb: str
    """`select`, `insert`, `update`, `delete` or `all`."""
    roles: tuple[str, ...]
    using_text: str | None
    check_text: str | None

    @property
    def label(self) -> str:
        """`schema.table.policy`."""
        return f"{self.schema}.{self.table}.{self.name}"

    @property
    def relation(self) -> str:
        """`schema.table`."""
        return f"{self.schema}.{self.table}"

    @property
    def target(self) -> str:
        """The quoted policy and table, as after `alter policy`."""
        table = f"{identifier(self.schema)}.{identifier(self.table)}"
        return f"{identifier(self.name)} on {table}"

    def holds_for(self, role: str, verb: Verb) -> bool:
        """Whether it is asked when `role` does `verb`."""
        return self.verb in (verb.value, "all") and (role in self.roles or "public" in self.roles)

    def render(self, *, is_permissive: bool | None = None, with_check: bool = True) -> str:
        """The statement that creates it, possibly permissive or without its check."""
        permissive = self.is_permissive if is_permissive is None else is_permissive
        roles = ", ".join("public" if role == "public" else identifier(role) for role in self.roles)
        text = (
            f"create policy {self.target} as {'permissive' if permissive else 'restrictive'}"
            f" for {self.verb} to {roles}"
        )
        if self.using_text is not None:
            text += f" using ({self.using_text})"
        if self.check_text is not None and with_check:
            text += f" with check ({self.check_text})"
        return text


@dataclass(frozen=True, slots=True)
class Guard:
    """What stands before the rows of a relation besides its policies."""

    schema: str
    relation: str
    is_view: bool = False
    is_enabled: bool = False
    is_forced: bool = False
    is_invoker: bool = False
    """For a view: whether it reads with the rights of whoever asks."""


@dataclass(frozen=True, slots=True)
class ClientGrant:
    """What `anon` or `authenticated` may do with a relation before any policy is asked."""

    schema: str
    relation: str
    role: str
    verb: str
    is_whole: bool = False
    is_any: bool = False
    """Whether at least one column may be used so."""
    columns: Sequence[str] = ()
    """The columns that may be used so."""


@dataclass(frozen=True, slots=True)
class FunctionFacts:
    """A function and which clients may call it."""

    schema: str
    name: str
    arguments: str
    is_definer: bool = False
    is_trigger: bool = False
    is_test: bool = False
    """Whether it answers yes or no without arguments, as helpers of policies do."""
    anon: bool = False
    authenticated: bool = False

    @property
    def label(self) -> str:
        """`schema.name(arguments)`."""
        return f"{self.schema}.{self.name}({self.arguments})"


@dataclass(frozen=True, slots=True)
class AccessFacts:
    """All that decides who gets to which rows."""

    policies: Sequence[Policy]
    guards: Sequence[Guard]
    grants: Sequence[ClientGrant]
    functions: Sequence[FunctionFacts]


async def read_access(connection: Connection) -> AccessFacts:
    """Read policies, guards, grants and functions; needs no right but to connect."""
    async with qualified_names(connection):
        policies = await connection.fetch(QUERIES.policies)
        guards = await connection.fetch(QUERIES.guards)
        grants = await connection.fetch(QUERIES.grants)
        functions = await connection.fetch(QUERIES.functions)
    return AccessFacts(
        [
            Policy(
                row["schema"],
                row["table"],
                row["name"],
                row["is_permissive"],
                row["verb"],
                tuple(row["roles"]),
                row["using_text"],
                row["check_text"],
            )
            for row in policies
        ],
        [
            Guard(
                row["schema"],
                row["relation"],
                is_view=row["kind"] == "v",
                is_enabled=row["is_enabled"],
                is_forced=row["is_forced"],
                is_invoker=row["is_invoker"],
            )
            for row in guards
        ],
        [ClientGrant(**dict(row)) for row in grants],
        [FunctionFacts(**dict(row)) for row in functions],
    )
