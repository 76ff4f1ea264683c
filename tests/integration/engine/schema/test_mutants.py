from dataclasses import replace

from tests.integration.engine.empty_database import EmptyDatabase
from tests.integration.engine.schema.guarded import DATABASE, SAMPLES

from bulkhead.engine.schema.introspect import introspect
from bulkhead.engine.schema.probes.mutants import Catcher, run_mutants
from bulkhead.engine.schema.probes.mutations import MutationKind


async def test_every_mutant_of_guarded_tables_is_noticed(guarded: EmptyDatabase) -> None:
    report = await run_mutants(guarded.connection, DATABASE, SAMPLES)
    assert [str(mutant) for mutant in report.survivors] == []
    kinds = {result.mutation.kind for result in report.results}
    assert kinds >= {
        MutationKind.USING_TRUE,
        MutationKind.CHECK_TRUE,
        MutationKind.CHECK_DROPPED,
        MutationKind.POLICY_DROPPED,
        MutationKind.ROLE_PUBLIC,
        MutationKind.ROLE_ADDED,
        MutationKind.RLS_DISABLED,
        MutationKind.RLS_NOT_FORCED,
        MutationKind.INVOKER_OFF,
        MutationKind.GRANT_WIDENED,
        MutationKind.GRANT_REVOKED,
        MutationKind.TEST_TRUE,
    }


async def test_nothing_remains_of_the_mutants(guarded: EmptyDatabase) -> None:
    before = await introspect(guarded.connection)
    await run_mutants(guarded.connection, DATABASE, SAMPLES)
    assert await introspect(guarded.connection) == before


async def test_a_state_on_which_nobody_tries_lets_a_mutant_survive(guarded: EmptyDatabase) -> None:
    cases = {**SAMPLES.cases, "topics": SAMPLES.cases["topics"][:1]}
    report = await run_mutants(guarded.connection, DATABASE, replace(SAMPLES, cases=cases))
    assert [str(mutant.mutation) for mutant in report.survivors] == [
        "USING (true): public.topics.read_published"
    ]


async def test_what_provably_changes_nothing_is_told_apart(guarded: EmptyDatabase) -> None:
    await guarded.connection.execute(
        "create policy read_all on topics for select to anon, authenticated using (true)"
    )
    everybody = replace(SAMPLES, cases={"notes": SAMPLES.cases["notes"]})
    report = await run_mutants(guarded.connection, DATABASE, everybody)
    assert [str(mutant) for mutant in report.survivors] == []
    reason = "another policy lets the same roles read every row"
    found = {str(each.mutation) for each in report.equivalents if each.evidence == reason}
    assert found == {
        f"{kind}: public.topics.read_published"
        for kind in (MutationKind.USING_TRUE, MutationKind.POLICY_DROPPED)
    }


async def test_a_policy_that_only_a_trigger_needs_is_missed_by_the_rows(
    guarded: EmptyDatabase,
) -> None:
    await guarded.connection.execute(f"""
        set role {guarded.spec.owner};
        alter table topics add column notes_count integer not null default 0;
        create policy count_read on topics for select to current_user using (true);
        create policy count_notes on topics for update to current_user
          using (true) with check (true);
        create function private.count_notes() returns trigger language plpgsql
          security definer set search_path = ''
        as $$
        begin
          update public.topics set notes_count = notes_count + 1 where id = new.topic_id;
          return null;
        end
        $$;
        create trigger notes_count after insert on notes for each row
          execute function private.count_notes();
        reset role""")
    notes = (replace(SAMPLES.cases["notes"][0], parents={"topics": "published"}),)
    samples = replace(SAMPLES, cases={**SAMPLES.cases, "notes": notes})
    report = await run_mutants(guarded.connection, DATABASE, samples)
    assert [str(mutant) for mutant in report.survivors] == []
    assert {mutant.mutation.object for mutant in report.caught_by(Catcher.ROWS)} == {
        "public.topics.count_notes",
        "public.topics.count_read",
    }
