from hypothesis import given
from hypothesis import strategies as st

from bulkhead.engine.schema.policies import (
    AccessFacts,
    ClientGrant,
    FunctionFacts,
    Guard,
    Policy,
)
from bulkhead.engine.schema.probes.mutations import (
    Mutation,
    MutationKind,
    generate_mutations,
    leave_out_each,
)

UID = "( SELECT auth.uid() AS uid)"
OWN = f"(user_id = {UID})"


def policy(
    verb: str = "select",
    using: str | None = OWN,
    check: str | None = None,
    *,
    name: str = "own",
    roles: tuple[str, ...] = ("authenticated",),
    is_permissive: bool = True,
) -> Policy:
    return Policy("public", "notes", name, is_permissive, verb, roles, using, check)


def mutations(
    *policies: Policy,
    guards: tuple[Guard, ...] = (),
    grants: tuple[ClientGrant, ...] = (),
    functions: tuple[FunctionFacts, ...] = (),
) -> list[Mutation]:
    facts = AccessFacts(policies, guards, grants, functions)
    return list(generate_mutations(facts, {"public.notes"}))


def sql_of(kind: MutationKind, found: list[Mutation]) -> list[str]:
    return [mutation.sql for mutation in found if mutation.kind is kind]


def test_a_policy_is_opened_dropped_and_given_to_others() -> None:
    found = mutations(policy())
    assert [(mutation.kind, mutation.sql) for mutation in found] == [
        (MutationKind.USING_TRUE, 'alter policy "own" on "public"."notes" using (true)'),
        (MutationKind.POLICY_DROPPED, 'drop policy "own" on "public"."notes"'),
        (MutationKind.ROLE_PUBLIC, 'alter policy "own" on "public"."notes" to public'),
        (
            MutationKind.ROLE_ADDED,
            'alter policy "own" on "public"."notes" to "authenticated", "anon"',
        ),
    ]
    assert {mutation.relation for mutation in found} == {"public.notes"}


def test_a_policy_of_another_table_is_left_alone() -> None:
    facts = AccessFacts([policy()], [], [], [])
    assert list(generate_mutations(facts, {"public.orders"})) == []


def test_what_is_true_already_is_not_opened() -> None:
    assert sql_of(MutationKind.USING_TRUE, mutations(policy(using="true"))) == []


def test_a_check_is_opened_and_left_out() -> None:
    found = mutations(policy("update", OWN, "(state = 'open'::text)"))
    assert sql_of(MutationKind.CHECK_TRUE, found) == [
        'alter policy "own" on "public"."notes" with check (true)'
    ]
    (dropped,) = sql_of(MutationKind.CHECK_DROPPED, found)
    assert dropped.startswith('drop policy "own" on "public"."notes"; create policy "own"')
    assert "with check" not in dropped


def test_leaving_out_a_check_that_repeats_using_changes_nothing() -> None:
    (dropped,) = [
        mutation
        for mutation in mutations(policy("all", OWN, OWN))
        if mutation.kind is MutationKind.CHECK_DROPPED
    ]
    assert dropped.equivalent is not None


def test_a_restrictive_policy_is_made_permissive() -> None:
    (sql,) = sql_of(MutationKind.MADE_PERMISSIVE, mutations(policy(is_permissive=False)))
    assert "as permissive" in sql


def test_reading_what_another_policy_shows_to_the_same_roles_changes_nothing() -> None:
    shown = policy(using="true", name="all", roles=("anon", "authenticated"))
    found = mutations(policy(), shown)
    reasons = {(m.kind, m.object.split(".")[-1]): m.equivalent for m in found}
    assert reasons[MutationKind.POLICY_DROPPED, "own"] is not None
    assert reasons[MutationKind.ROLE_ADDED, "own to anon"] is not None
    assert reasons[MutationKind.POLICY_DROPPED, "all"] is None


def test_a_check_of_what_clients_cannot_change_cannot_be_missed() -> None:
    both = f"({OWN} AND (state = 'open'::text))"
    grant = ClientGrant("public", "notes", "authenticated", "update", columns=("state",))
    found = {
        mutation.object: mutation.equivalent is not None
        for mutation in mutations(policy("update", both, both), grants=(grant,))
        if mutation.kind is MutationKind.CONDITION_DROPPED and "WITH CHECK" in mutation.object
    }
    assert found == {
        f"public.notes.own WITH CHECK without {OWN}": True,
        "public.notes.own WITH CHECK without (state = 'open'::text)": False,
    }


def test_guards_are_taken_away() -> None:
    table = Guard("public", "notes", is_enabled=True, is_forced=True)
    view = Guard("public", "notes", is_view=True, is_invoker=True)
    kinds = [mutation.kind for mutation in mutations(guards=(table, view))]
    assert kinds == [
        MutationKind.RLS_DISABLED,
        MutationKind.RLS_NOT_FORCED,
        MutationKind.INVOKER_OFF,
    ]


def test_grants_are_widened_and_revoked() -> None:
    whole = ClientGrant("public", "notes", "anon", "select", is_whole=True)
    some = ClientGrant("public", "notes", "anon", "update", is_any=True)
    none = ClientGrant("public", "notes", "anon", "delete")
    assert [mutation.sql for mutation in mutations(grants=(whole, some, none))] == [
        'revoke select on "public"."notes" from anon',
        'grant update on "public"."notes" to anon',
        'revoke update on "public"."notes" from anon',
        'grant delete on "public"."notes" to anon',
    ]


def test_functions_are_opened_unpinned_and_made_to_agree() -> None:
    function = FunctionFacts(
        "private", "is_staff", "", is_definer=True, is_test=True, authenticated=True
    )
    assert [mutation.kind for mutation in mutations(functions=(function,))] == [
        MutationKind.CALL_GRANTED,
        MutationKind.PATH_UNPINNED,
        MutationKind.TEST_TRUE,
    ]


def test_conditions_are_split_outside_of_parentheses_and_strings_only() -> None:
    text = "((a = ' AND ') AND (EXISTS ( SELECT 1 WHERE (b AND c))) AND (d OR e))"
    assert [left for left, _ in leave_out_each(text)] == [
        "(a = ' AND ')",
        "(EXISTS ( SELECT 1 WHERE (b AND c)))",
        "(d OR e)",
    ]
    assert list(leave_out_each("((a = 1) OR (b = 2))")) == []


@given(st.lists(st.sampled_from(["(a)", "(b AND c)", "(x = ' AND ')", "(f(1))"]), min_size=2))
def test_each_condition_is_left_out_once(parts: list[str]) -> None:
    found = list(leave_out_each(f"({' AND '.join(parts)})"))
    assert [left for left, _ in found] == parts
    assert found[0][1] == " AND ".join(parts[1:])
