"""Mutations: every single way in which the guards of a database could have been written wrong."""

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from bulkhead.engine.connections.sql import identifier
from bulkhead.engine.schema.policies import (
    AccessFacts,
    ClientGrant,
    FunctionFacts,
    Guard,
    Policy,
)
from bulkhead.engine.topology import Verb

CLIENT_ROLES = ("anon", "authenticated")
_TRUE = ("true", "(true)")
_WORD = re.compile(r"\w+")


class MutationKind(StrEnum):
    """What was changed."""

    USING_TRUE = "USING (true)"
    CHECK_TRUE = "WITH CHECK (true)"
    CHECK_DROPPED = "WITH CHECK left out"
    CONDITION_DROPPED = "one of several conditions left out"
    POLICY_DROPPED = "policy left out"
    ROLE_PUBLIC = "policy TO public"
    ROLE_ADDED = "policy for one more role"
    MADE_PERMISSIVE = "restrictive policy made permissive"
    RLS_DISABLED = "row level security off"
    RLS_NOT_FORCED = "row level security not forced"
    INVOKER_OFF = "security_invoker off"
    GRANT_WIDENED = "grant widened"
    GRANT_REVOKED = "grant revoked"
    CALL_GRANTED = "execute granted"
    TEST_TRUE = "test of rights answers true"
    PATH_UNPINNED = "search_path not pinned"


@dataclass(frozen=True, slots=True)
class Mutation:
    """One change; `relation` is what it is tried on first."""

    kind: MutationKind
    object: str
    relation: str
    sql: str
    verb: str = ""
    equivalent: str | None = None
    """Why it cannot change what anybody may do, where that is provable."""

    def __str__(self) -> str:
        return f"{self.kind}: {self.object}"


def generate_mutations(facts: AccessFacts, relations: Collection[str]) -> Iterator[Mutation]:
    """Every mutation of the guards of `relations`, given as `schema.name`, and of functions."""
    for policy in facts.policies:
        if policy.relation in relations:
            yield from _mutate_conditions(policy, facts)
            yield from _mutate_roles(policy, facts)
    for guard in facts.guards:
        if f"{guard.schema}.{guard.relation}" in relations:
            yield from _mutate_guard(guard)
    invokers = {(guard.schema, guard.relation) for guard in facts.guards if guard.is_invoker}
    for grant in facts.grants:
        if f"{grant.schema}.{grant.relation}" in relations:
            is_invoker = (grant.schema, grant.relation) in invokers
            yield from _mutate_grant(grant, is_invoker=is_invoker)
    for function in facts.functions:
        yield from _mutate_function(function)


def _mutate_conditions(policy: Policy, facts: AccessFacts) -> Iterator[Mutation]:
    alter = f"alter policy {policy.target}"
    redundant = why_redundant(policy, policy.roles, facts)
    if policy.using_text not in (None, *_TRUE):
        yield _of(policy, MutationKind.USING_TRUE, f"{alter} using (true)", why=redundant)
    if policy.check_text not in (None, *_TRUE):
        yield _of(policy, MutationKind.CHECK_TRUE, f"{alter} with check (true)")
    if policy.check_text is not None and policy.verb in ("update", "all"):
        sql = f"drop policy {policy.target}; {policy.render(with_check=False)}"
        same = policy.check_text == policy.using_text
        why = "without WITH CHECK the same USING condition is taken" if same else None
        yield _of(policy, MutationKind.CHECK_DROPPED, sql, why=why)
    for left, rest in leave_out_each(policy.using_text or ""):
        note = f" USING without {left[:80]}"
        sql = f"{alter} using ({rest})"
        yield _of(policy, MutationKind.CONDITION_DROPPED, sql, note, redundant)
    for left, rest in leave_out_each(policy.check_text or ""):
        note = f" WITH CHECK without {left[:80]}"
        sql = f"{alter} with check ({rest})"
        why = why_unchangeable(policy, left, facts)
        yield _of(policy, MutationKind.CONDITION_DROPPED, sql, note, why)


def _mutate_roles(policy: Policy, facts: AccessFacts) -> Iterator[Mutation]:
    alter = f"alter policy {policy.target}"
    sql = f"drop policy {policy.target}"
    why = why_redundant(policy, policy.roles, facts)
    yield _of(policy, MutationKind.POLICY_DROPPED, sql, why=why)
    if not policy.is_permissive:
        sql = f"drop policy {policy.target}; {policy.render(is_permissive=True)}"
        yield _of(policy, MutationKind.MADE_PERMISSIVE, sql)
    if "public" in policy.roles:
        return
    yield _of(policy, MutationKind.ROLE_PUBLIC, f"{alter} to public")
    for role in CLIENT_ROLES:
        if role not in policy.roles:
            roles = ", ".join(identifier(name) for name in (*policy.roles, role))
            why = why_redundant(policy, (role,), facts)
            yield _of(policy, MutationKind.ROLE_ADDED, f"{alter} to {roles}", f" to {role}", why)


def _of(
    policy: Policy, kind: MutationKind, sql: str, note: str = "", why: str | None = None
) -> Mutation:
    return Mutation(kind, f"{policy.label}{note}", policy.relation, sql, policy.verb, why)


def why_redundant(policy: Policy, roles: Sequence[str], facts: AccessFacts) -> str | None:
    """Why it matters to none of `roles` whether this policy lets a row be read; None if it may."""
    if policy.verb != "select" or not policy.is_permissive:
        return None
    others = [
        other
        for other in facts.policies
        if other is not policy
        and other.relation == policy.relation
        and other.is_permissive
        and other.using_text in _TRUE
    ]
    if all(any(other.holds_for(role, Verb.SELECT) for other in others) for role in roles):
        return "another policy lets the same roles read every row"
    return None


def why_unchangeable(policy: Policy, condition: str, facts: AccessFacts) -> str | None:
    """Why no update can make `condition` of a check false; None if one may.

    It stood in USING for the row before, and its roles may change none of its columns.
    """
    if policy.verb != "update" or condition not in (policy.using_text or ""):
        return None
    changeable = {
        column
        for grant in facts.grants
        if (grant.schema, grant.relation, grant.verb) == (policy.schema, policy.table, "update")
        and (grant.role in policy.roles or "public" in policy.roles)
        for column in grant.columns
    }
    clients_only = set(policy.roles) <= set(CLIENT_ROLES)
    if clients_only and not changeable & set(_WORD.findall(condition)):
        return "USING asks the same, and clients may not change what it asks for"
    return None


def leave_out_each(text: str) -> Iterator[tuple[str, str]]:
    """Each condition of a top-level AND with what remains without it.

    >>> list(leave_out_each("((a = 1) AND (b = 2))"))
    [('(a = 1)', '(b = 2)'), ('(b = 2)', '(a = 1)')]
    """
    parts = _conjuncts(text)
    if len(parts) > 1:
        for place, part in enumerate(parts):
            yield part, " AND ".join([*parts[:place], *parts[place + 1 :]])


def _conjuncts(text: str) -> list[str]:
    text = text.strip()
    if text.startswith("(") and _closing(text, 0) == len(text) - 1:
        return _conjuncts(text[1:-1])
    parts, depth, start, position = [], 0, 0, 0
    quoted = False
    while position < len(text):
        char = text[position]
        if char == "'":
            quoted = not quoted
        elif not quoted and char in "()":
            depth += 1 if char == "(" else -1
        elif not quoted and depth == 0 and text.startswith(" AND ", position):
            parts.append(text[start:position])
            start = position + len(" AND ")
        position += 1
    return [*parts, text[start:]]


def _closing(text: str, opening: int) -> int:
    """Where the parenthesis at `opening` closes."""
    depth, quoted = 0, False
    for position in range(opening, len(text)):
        if text[position] == "'":
            quoted = not quoted
        elif not quoted and text[position] in "()":
            depth += 1 if text[position] == "(" else -1
            if depth == 0:
                return position
    return -1


def _mutate_guard(guard: Guard) -> Iterator[Mutation]:
    label = f"{guard.schema}.{guard.relation}"
    name = f"{identifier(guard.schema)}.{identifier(guard.relation)}"
    if guard.is_view:
        if guard.is_invoker:
            sql = f"alter view {name} set (security_invoker = false)"
            yield Mutation(MutationKind.INVOKER_OFF, label, label, sql, "select")
        return
    if guard.is_enabled:
        sql = f"alter table {name} disable row level security"
        yield Mutation(MutationKind.RLS_DISABLED, label, label, sql)
    if guard.is_forced:
        sql = f"alter table {name} no force row level security"
        yield Mutation(MutationKind.RLS_NOT_FORCED, label, label, sql)


def _mutate_grant(grant: ClientGrant, *, is_invoker: bool) -> Iterator[Mutation]:
    label = f"{grant.schema}.{grant.relation}"
    name = f"{identifier(grant.schema)}.{identifier(grant.relation)}"
    subject = f"{grant.verb} on {label} to {grant.role}"
    if not grant.is_whole:
        sql = f"grant {grant.verb} on {name} to {grant.role}"
        why = "the view asks for the same right to its tables" if is_invoker else None
        yield Mutation(MutationKind.GRANT_WIDENED, subject, label, sql, grant.verb, why)
    if grant.is_whole or (grant.is_any and grant.verb in ("select", "insert", "update")):
        sql = f"revoke {grant.verb} on {name} from {grant.role}"
        yield Mutation(MutationKind.GRANT_REVOKED, subject, label, sql, grant.verb)


def _mutate_function(function: FunctionFacts) -> Iterator[Mutation]:
    name = f"{identifier(function.schema)}.{identifier(function.name)}({function.arguments})"
    label = function.label
    if not function.is_trigger:
        for role in CLIENT_ROLES:
            if not (function.anon if role == "anon" else function.authenticated):
                sql = f"grant execute on function {name} to {role}"
                yield Mutation(MutationKind.CALL_GRANTED, f"{label} to {role}", label, sql)
    if function.is_definer:
        sql = f"alter function {name} reset search_path"
        yield Mutation(MutationKind.PATH_UNPINNED, label, label, sql)
    if function.is_test:
        sql = (
            f"create or replace function {name} returns boolean language sql stable"
            " set search_path = '' as 'select true'"
        )
        yield Mutation(MutationKind.TEST_TRUE, label, "", sql)
