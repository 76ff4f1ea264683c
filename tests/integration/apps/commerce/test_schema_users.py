"""The users database: what signing up makes, and that everybody sees their own."""

from collections.abc import AsyncIterator
from uuid import UUID

import pytest
from tests.integration.apps.commerce.schema_shop import STAFF, Caller, open_alone, together

from bulkhead.engine.connections.claims import ANON, user
from bulkhead.engine.drivers.errors import PermissionDenied
from bulkhead.engine.ids import new_id
from bulkhead.engine.testing import TestServers


@pytest.fixture(scope="module")
async def users(servers: TestServers) -> AsyncIterator[Caller]:
    async with open_alone(servers, "users") as users:
        yield users


async def sign_up(users: Caller, full_name: str = "Ada") -> UUID:
    user_id = new_id()
    await users.execute(
        "insert into auth.users (id, email, raw_user_meta_data) values ($1, $2,"
        " jsonb_build_object('full_name', $3::text))",
        user_id,
        f"{user_id}@example.com",
        full_name,
    )
    return user_id


ADDRESS = (
    "insert into user_addresses (kind, is_default, recipient, line1, city, country)"
    " values ($1, true, 'Ada', $2, 'Hamburg', 'DE')"
)


async def test_signing_up_makes_a_profile_with_preferences(users: Caller) -> None:
    user_id = await sign_up(users, "Ada Lovelace")
    rows = await users.fetch(
        "select p.full_name, f.order_mail, f.marketing_mail, f.welcomed_at from user_profiles p"
        " join user_preferences f on f.user_id = p.id where p.id = $1",
        user_id,
    )
    assert rows == [
        {
            "full_name": "Ada Lovelace",
            "order_mail": True,
            "marketing_mail": False,
            "welcomed_at": None,
        }
    ]


async def test_all_of_a_user_goes_with_the_user(users: Caller) -> None:
    user_id = await sign_up(users)
    await users.acting_for(user(user_id)).execute(ADDRESS, "shipping", "Quay 1")
    await users.execute("delete from auth.users where id = $1", user_id)
    for table, column in (
        ("user_profiles", "id"),
        ("user_preferences", "user_id"),
        ("user_addresses", "user_id"),
    ):
        sql = f"select count(*) from {table} where {column} = $1"
        assert await users.value(sql, user_id) == 0


async def test_a_new_default_address_takes_the_place_of_the_old_one(users: Caller) -> None:
    user_id = await sign_up(users)
    owner = users.acting_for(user(user_id))
    await owner.execute(ADDRESS, "shipping", "Quay 1")
    await owner.execute(ADDRESS, "billing", "Quay 2")
    await owner.execute(ADDRESS, "shipping", "Quay 3")
    sql = "select line1 from user_addresses where is_default order by line1"
    assert [row["line1"] for row in await owner.fetch(sql)] == ["Quay 2", "Quay 3"]
    await owner.execute("update user_addresses set is_default = true where line1 = 'Quay 1'")
    assert [row["line1"] for row in await owner.fetch(sql)] == ["Quay 1", "Quay 2"]


@pytest.mark.parametrize("table", ["user_profiles", "user_preferences", "user_addresses"])
async def test_a_stranger_sees_and_changes_nothing(users: Caller, table: str) -> None:
    victim, stranger = await sign_up(users), await sign_up(users)
    await users.acting_for(user(victim)).execute(ADDRESS, "shipping", "Quay 1")
    column = "id" if table == "user_profiles" else "user_id"
    acting = users.acting_for(user(stranger))
    assert await acting.fetch(f"select 1 from {table} where {column} = $1", victim) == []
    changed = {
        "user_profiles": "full_name = 'Eve'",
        "user_preferences": "theme = 'dark'",
        "user_addresses": "line1 = 'Elsewhere'",
    }[table]
    sql = f"update {table} set {changed} where {column} = $1"
    assert await acting.execute(sql, victim) == "UPDATE 0"
    assert await users.acting_for(user(victim)).execute(sql, victim) == "UPDATE 1"
    with pytest.raises(PermissionDenied):
        await users.acting_for(ANON).fetch(f"select 1 from {table}")


async def test_an_address_cannot_be_given_to_somebody_else(users: Caller) -> None:
    owner, other = await sign_up(users), await sign_up(users)
    acting = users.acting_for(user(owner))
    with pytest.raises(PermissionDenied):
        await acting.execute(
            "insert into user_addresses (user_id, kind, recipient, line1, city, country)"
            " values ($1, 'shipping', 'Eve', 'Quay 1', 'Hamburg', 'DE')",
            other,
        )
    await acting.execute(ADDRESS, "shipping", "Quay 1")
    with pytest.raises(PermissionDenied):
        await acting.execute("update user_addresses set user_id = $1", other)


async def test_a_user_does_not_write_history(users: Caller) -> None:
    user_id = await sign_up(users)
    acting = users.acting_for(user(user_id))
    for statement in (
        f"insert into user_activity_logs (user_id, action) values ('{user_id}', 'paid')",
        f"insert into user_sessions (id, user_id) values (gen_random_uuid(), '{user_id}')",
        "update user_preferences set welcomed_at = now()",
        "select private.log_activity('[]')",
    ):
        with pytest.raises(PermissionDenied):
            await acting.execute(statement)


async def test_an_activity_is_logged_once_and_never_for_somebody_who_is_gone(
    users: Caller,
) -> None:
    user_id, entry = await sign_up(users), new_id()
    order = {"subject_kind": "order", "subject_id": new_id()}
    told = [
        {"id": entry, "user_id": user_id, "action": "order.confirmed", **order},
        {"id": new_id(), "user_id": new_id(), "action": "order.confirmed", **order},
    ]
    answers = await together(users.call("log_activity", told) for _ in range(5))
    news = [rows[0]["log_activity"] for rows in answers if isinstance(rows, list)]
    assert sorted(news) == [0, 0, 0, 0, 1]
    sql = "select id from user_activity_logs where user_id = $1"
    for claims in (user(user_id), STAFF):
        assert await users.acting_for(claims).fetch(sql, user_id) == [{"id": entry}]
    assert await users.acting_for(user(new_id())).fetch(sql, user_id) == []
