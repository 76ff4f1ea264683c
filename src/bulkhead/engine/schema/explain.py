"""Explain what a user may do with a table: which grants and policies speak, and how many rows pass.

The alternative people fall back on is switching row level security off to see whether it was the
cause; this answers without touching anything.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import asyncpg

from bulkhead.engine.connections.claims import Claims, Role
from bulkhead.engine.connections.sql import identifier
from bulkhead.engine.errors import NotFound
from bulkhead.engine.schema.introspect import Connection
from bulkhead.engine.schema.policies import AccessFacts, ClientGrant, Guard, Policy, read_access
from bulkhead.engine.topology import Verb

TIMEOUT_S = 10
"""How long rows are counted before the count is left out."""


@dataclass(frozen=True, slots=True)
class VerbExplanation:
    """One verb: from the grant over the policies to the rows."""

    verb: Verb
    granted: str
    """`table`, the columns it is granted for, or `nothing`."""
    policies: Sequence[Policy]
    """Those that are asked for the role: permissive ones joined by OR, restrictive ones by AND."""
    rows: int | None
    """How many of the rows there are now pass; None where that cannot be said, as for inserts."""

    @property
    def outcome(self) -> str:
        """In a few words: `refused: no grant`, `no policy lets a row pass`, `3 rows`."""
        if self.granted == "nothing":
            return "refused: no grant"
        if self.rows is not None:
            return f"{self.rows} rows"
        if not self.policies:
            return "refused: no policy"
        return "as the policies say"


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a role with claims may do with a table."""

    table: str
    role: str
    subject: str | None
    app_role: str | None
    guard: str
    """Whether policies are asked at all."""
    rows: int
    """How many rows there are."""
    verbs: Sequence[VerbExplanation]

    def to_json(self) -> dict[str, Any]:
        """All of it as JSON-able values."""
        return {
            "table": self.table,
            "role": self.role,
            "subject": self.subject,
            "app_role": self.app_role,
            "guard": self.guard,
            "rows": self.rows,
            "verbs": [
                {
                    "verb": each.verb.value,
                    "granted": each.granted,
                    "rows": each.rows,
                    "outcome": each.outcome,
                    "policies": [asdict(policy) for policy in each.policies],
                }
                for each in self.verbs
            ],
        }

    def to_text(self) -> str:
        """All of it for a person."""
        who = ", ".join(part for part in (self.role, self.subject, self.app_role) if part)
        lines = [f"{self.table} as {who}: {self.rows} rows, {self.guard}"]
        for each in self.verbs:
            lines.append(f"  {each.verb}: {each.outcome} (granted: {each.granted})")
            for policy in each.policies:
                kind = "passes if" if policy.is_permissive else "only if"
                lines.append(f"    {policy.name} {kind} {_conditions(policy, each.verb)}")
        return "\n".join(lines)


async def explain(connection: Connection, table: str, claims: Claims) -> Explanation:
    """Explain `table`, given as `name` or `schema.name`, to whoever has `claims`.

    `connection` is an administrator's, outside of any transaction; nothing is changed. Counts are
    of the present rows, taken under the role and the claims. Raises NotFound.
    """
    async with connection.transaction(readonly=True):
        await connection.execute(
            f"set local statement_timeout = '{TIMEOUT_S}s'; set local search_path = public"
        )
        facts = await read_access(connection)
        guard = _find_guard(facts, table)
        relation = f"{identifier(guard.schema)}.{identifier(guard.relation)}"
        await connection.execute(f"set local role {Role.SERVICE.value}")
        rows = await connection.fetchval(f"select count(*) from {relation}")
        await connection.execute(f"set local role {identifier(claims.role)}")
        await connection.fetchval("select set_config('request.jwt.claims', $1, true)", claims.json)
        verbs = [await _explain_verb(connection, facts, guard, claims, verb) for verb in Verb]
    return Explanation(
        table=f"{guard.schema}.{guard.relation}",
        role=claims.role,
        subject=str(claims.subject) if claims.subject else None,
        app_role=claims.app_role,
        guard=_describe(guard, claims),
        rows=rows,
        verbs=verbs,
    )


def _find_guard(facts: AccessFacts, table: str) -> Guard:
    schema, _, name = table.rpartition(".")
    for guard in facts.guards:
        if guard.relation == name and guard.schema == (schema or "public"):
            return guard
    raise NotFound(what=f"Table '{table}'")


def _describe(guard: Guard, claims: Claims) -> str:
    if claims.role == Role.SERVICE:
        return "policies are not asked: the service passes over them"
    if guard.is_view:
        reader = "whoever asks" if guard.is_invoker else "its owner, past all policies"
        return f"a view that reads as {reader}"
    if not guard.is_enabled:
        return "row level security is OFF"
    return "policies are asked" + ("" if guard.is_forced else ", but not of the table's owner")


async def _explain_verb(
    connection: Connection, facts: AccessFacts, guard: Guard, claims: Claims, verb: Verb
) -> VerbExplanation:
    role = claims.role
    granted = (
        "table" if claims.role == Role.SERVICE else _find_grant(facts.grants, guard, role, verb)
    )
    policies = [
        policy
        for policy in facts.policies
        if (policy.schema, policy.table) == (guard.schema, guard.relation)
        and policy.holds_for(role, verb)
    ]
    is_asked = guard.is_enabled and claims.role != Role.SERVICE
    rows = None
    if granted != "nothing" and verb is not Verb.INSERT:
        condition = _render_condition(policies) if is_asked and verb is not Verb.SELECT else "true"
        rows = await _count(connection, guard, condition)
    return VerbExplanation(verb, granted, policies if is_asked else [], rows)


def _find_grant(grants: Sequence[ClientGrant], guard: Guard, role: str, verb: Verb) -> str:
    for grant in grants:
        if (grant.schema, grant.relation, grant.role, grant.verb) == (
            guard.schema,
            guard.relation,
            role,
            verb.value,
        ):
            if grant.is_whole:
                return "table"
            if verb is not Verb.DELETE and grant.is_any:
                return f"columns {', '.join(grant.columns)}"
    return "nothing"


def _render_condition(policies: Sequence[Policy]) -> str:
    """What USING asks of a row: one of the permissive policies and all of the restrictive ones."""
    permissive = [policy.using_text or "true" for policy in policies if policy.is_permissive]
    restrictive = [policy.using_text or "true" for policy in policies if not policy.is_permissive]
    anyone = " or ".join(f"({text})" for text in permissive) or "false"
    return " and ".join([f"({anyone})", *(f"({text})" for text in restrictive)])


async def _count(connection: Connection, guard: Guard, condition: str) -> int | None:
    """Count the rows that the role sees and that pass `condition`; None where it may not look."""
    relation = f"{identifier(guard.schema)}.{identifier(guard.relation)}"
    try:
        async with connection.transaction():
            return int(
                await connection.fetchval(f"select count(*) from {relation} where {condition}")
            )
    except asyncpg.PostgresError:
        return None


def _conditions(policy: Policy, verb: Verb) -> str:
    parts = []
    if verb is not Verb.INSERT and policy.using_text is not None:
        parts.append(policy.using_text)
    if verb in (Verb.INSERT, Verb.UPDATE) and policy.check_text is not None:
        parts.append(f"the new row has {policy.check_text}")
    return " and ".join(parts) or "true"
