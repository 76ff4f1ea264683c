import pytest
from tests.integration.engine.empty_database import EmptyDatabase

from bulkhead.engine.connections.claims import ANON, SERVICE, user
from bulkhead.engine.errors import NotFound
from bulkhead.engine.ids import derive_id
from bulkhead.engine.schema.explain import Explanation, explain

ALICE = derive_id("user", "alice")
BOB = derive_id("user", "bob")
STAFF = user(derive_id("user", "clerk"), app_metadata={"role": "staff"})


@pytest.fixture
async def filled(guarded: EmptyDatabase) -> EmptyDatabase:
    await guarded.connection.executemany(
        "insert into notes (user_id, body, pinned) values ($1, $2, true)",
        [(ALICE, "one"), (ALICE, "two"), (BOB, "three")],
    )
    await guarded.connection.execute(
        "insert into topics (title, state) values ('a', 'published'), ('b', 'draft')"
    )
    return guarded


def outcomes(explanation: Explanation) -> list[str]:
    return [each.outcome for each in explanation.verbs]


async def test_a_user_sees_and_changes_their_own_rows(filled: EmptyDatabase) -> None:
    found = await explain(filled.connection, "notes", user(ALICE))
    assert (found.rows, found.guard) == (3, "policies are asked")
    assert outcomes(found) == ["2 rows", "as the policies say", "2 rows", "2 rows"]
    assert [[policy.name for policy in each.policies] for each in found.verbs] == [
        ["read_own"],
        ["insert_own"],
        ["update_own"],
        ["delete_own"],
    ]
    assert found.verbs[2].granted == "columns topic_id, body, pinned"


async def test_nobody_is_refused_by_the_missing_grant(filled: EmptyDatabase) -> None:
    found = await explain(filled.connection, "public.notes", ANON)
    assert outcomes(found) == ["refused: no grant"] * 4
    assert (await explain(filled.connection, "topics", ANON)).verbs[0].rows == 1


async def test_staff_and_the_service_see_everything(filled: EmptyDatabase) -> None:
    assert (await explain(filled.connection, "topics", STAFF)).verbs[3].rows == 2
    found = await explain(filled.connection, "notes", SERVICE)
    assert [each.rows for each in found.verbs] == [3, None, 3, 3]
    assert "passes over" in found.guard


async def test_a_view_is_explained_by_how_it_reads(filled: EmptyDatabase) -> None:
    found = await explain(filled.connection, "pinned_notes", user(BOB))
    assert found.guard == "a view that reads as whoever asks"
    assert found.verbs[0].rows == 1


async def test_it_can_be_read_by_people_and_programs(filled: EmptyDatabase) -> None:
    found = await explain(filled.connection, "notes", user(ALICE))
    text = found.to_text()
    assert text.startswith(f"public.notes as authenticated, {ALICE}: 3 rows, policies are asked")
    assert "update_own passes if (user_id = ( SELECT auth.uid() AS uid))" in text
    assert found.to_json()["verbs"][0]["policies"][0]["name"] == "read_own"


async def test_a_table_that_is_not_there_is_not_found(guarded: EmptyDatabase) -> None:
    with pytest.raises(NotFound):
        await explain(guarded.connection, "nothing", ANON)
