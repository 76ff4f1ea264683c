"""What a driver promises: this suite is the definition of `Driver`, for every kind of server."""

import asyncio
import json
from dataclasses import replace
from decimal import Decimal
from uuid import UUID

import asyncpg
import pytest
from tests.integration.engine.drivers.mysql_subject import MysqlSubject
from tests.integration.engine.drivers.subject import Subject, fresh_name
from tests.integration.engine.drivers.supabase_subject import SupabaseSubject

from bulkhead.engine.drivers.errors import (
    CapabilityMissing,
    DatabaseForeign,
    DatabaseMissing,
    LoginRefused,
    RoleForeign,
    ServerUnreachable,
    TooManyConnections,
)
from bulkhead.engine.drivers.protocol import DatabaseSpec, Login

AnySubject = Subject | MysqlSubject | SupabaseSubject
USER = UUID("01890a5d-ac96-774b-bcce-b302099a8057")


async def test_a_repeated_ensure_changes_nothing(subject: AnySubject) -> None:
    async with subject.database() as spec:
        before = await subject.catalogue(spec)
        await subject.driver.ensure_database(spec)
        assert await subject.catalogue(spec) == before
        assert len(before) == len(await subject.catalogue(spec)) > 0


async def test_several_at_once_make_one_database(subject: AnySubject) -> None:
    spec = DatabaseSpec(fresh_name())
    async with asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(subject.driver.ensure_database(spec))
    async with subject.opened(spec, Login.CLIENT) as client:
        assert (await subject.where(client))[0] == spec.name
    await subject.driver.drop_database(spec)


async def test_a_database_that_was_left_half_made_is_finished(subject: AnySubject) -> None:
    async with subject.database() as spec:
        before = await subject.catalogue(spec)
        await subject.leave_half_made(spec)
        await subject.driver.ensure_database(spec)
        assert len(await subject.catalogue(spec)) == len(before)
        async with subject.opened(spec, Login.CLIENT) as client:
            assert (await subject.where(client))[0] == spec.name


@pytest.mark.needs("roles")
async def test_a_database_that_was_left_half_made_gets_its_functions(subject: Subject) -> None:
    async with subject.database() as spec:
        await subject.leave_half_made(spec)
        await subject.driver.ensure_database(spec)
        async with subject.opened(spec, Login.CLIENT) as client:
            await client.execute("set role anon")
            assert await client.fetchval("select auth.uid()") is None


@pytest.mark.needs("roles", "private")
async def test_a_database_without_its_mark_is_known_by_its_owner(subject: Subject) -> None:
    async with subject.database() as spec:
        async with subject.look() as admin:
            await admin.execute(f'comment on database "{spec.name}" is null')
            await admin.execute(f'grant connect on database "{spec.name}" to public')
        await subject.driver.ensure_database(spec)
        async with subject.look() as admin:
            row = await admin.fetchrow(
                "select shobj_description(oid, 'pg_database') as mark, "
                "  has_database_privilege('anon', oid, 'connect') as open "
                "from pg_database where datname = $1",
                spec.name,
            )
        assert row["mark"].startswith("bulkhead ")
        assert not row["open"]


async def test_a_foreign_database_is_not_touched(subject: AnySubject) -> None:
    spec = DatabaseSpec(fresh_name())
    async with subject.foreign_database(spec.name):
        with pytest.raises(DatabaseForeign) as caught:
            await subject.driver.ensure_database(spec)
        assert caught.value.code == "database_foreign"
        with pytest.raises(DatabaseForeign):
            await subject.driver.drop_database(spec)
    await subject.driver.drop_database(spec)


async def test_a_foreign_login_is_not_touched(subject: AnySubject) -> None:
    spec = DatabaseSpec(fresh_name())
    async with subject.foreign_login(spec, Login.SERVICE):
        with pytest.raises(RoleForeign):
            await subject.driver.ensure_database(spec)
        await subject.driver.drop_database(spec)


@pytest.mark.needs("roles")
@pytest.mark.parametrize(
    ("login", "may", "may_not"),
    [
        (Login.CLIENT, ["anon", "authenticated"], ["service_role", "{}_owner", "{}_service"]),
        (Login.SERVICE, ["service_role"], ["anon", "authenticated", "{}_owner", "{}_client"]),
    ],
)
async def test_a_login_becomes_its_own_roles_only(
    subject: Subject, spec: DatabaseSpec, login: Login, may: list[str], may_not: list[str]
) -> None:
    async with subject.opened(spec, login) as connection:
        for role in may:
            await connection.execute(f"set role {role}")
            assert await connection.fetchval("select current_user") == role
        for role in may_not:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(f'set role "{role.format(spec.name)}"')


@pytest.mark.needs("roles")
async def test_a_login_has_no_rights_before_it_takes_on_a_role(subject: Subject) -> None:
    async with subject.database() as spec:
        await subject.migrate(spec, "create table things (id integer primary key)")
        for login in (Login.CLIENT, Login.SERVICE):
            async with subject.opened(spec, login) as connection:
                for statement in (
                    "select id from public.things",
                    "select auth.uid()",
                    "create table public.mine (id integer)",
                    "create schema mine",
                ):
                    with pytest.raises(asyncpg.InsufficientPrivilegeError):
                        await connection.execute(statement)


@pytest.mark.needs("roles", "private")
async def test_a_login_makes_no_temporary_tables(subject: Subject, spec: DatabaseSpec) -> None:
    for login in (Login.CLIENT, Login.SERVICE):
        async with subject.opened(spec, login) as connection:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute("create temporary table mine (id integer)")


async def test_a_login_connects_to_its_own_database_only(subject: AnySubject) -> None:
    async with subject.database() as one, subject.database() as other:
        for login in (Login.CLIENT, Login.SERVICE):
            trespasser = replace(other, login_prefix=one.name)
            with pytest.raises(LoginRefused):
                await subject.driver.connect(trespasser, login, timeout_s=10)


@pytest.mark.needs("roles")
async def test_what_a_migration_makes_is_closed_to_clients(subject: Subject) -> None:
    async with subject.database() as spec:
        await subject.migrate(
            spec,
            "create table things (id serial primary key);"
            "create function public.answer() returns integer language sql as 'select 42'",
        )
        async with subject.opened(spec, Login.CLIENT) as client:
            for role in ("anon", "authenticated"):
                await client.execute(f"set role {role}")
                for statement in ("select id from things", "select public.answer()"):
                    with pytest.raises(asyncpg.InsufficientPrivilegeError):
                        await client.execute(statement)
        async with subject.opened(spec, Login.SERVICE) as service:
            await service.execute("set role service_role")
            await service.execute("insert into things default values")
            assert await service.fetchval("select public.answer()") == 42


@pytest.mark.needs("roles", "policies")
async def test_the_service_role_passes_over_policies_and_clients_do_not(subject: Subject) -> None:
    async with subject.database() as spec:
        await subject.migrate(
            spec,
            "create table things (id integer primary key);"
            "insert into things (id) values (1);"
            "alter table things enable row level security;"
            "alter table things force row level security;"
            "grant select on things to authenticated",
        )
        async with subject.opened(spec, Login.CLIENT) as client:
            await client.execute("set role authenticated")
            assert await client.fetch("select id from things") == []
        async with subject.opened(spec, Login.SERVICE) as service:
            await service.execute("set role service_role")
            assert await service.fetchval("select id from things") == 1


@pytest.mark.needs("roles")
async def test_a_claim_that_stands_alone_comes_first_as_in_supabase(
    subject: Subject, spec: DatabaseSpec
) -> None:
    async with subject.opened(spec, Login.CLIENT) as client, client.transaction():
        await client.execute(
            f'set local role authenticated; set local request.jwt.claims = \'{{"sub":"no"}}\';'
            f"set local request.jwt.claim.sub = '{USER}';"
            "set local request.jwt.claim.role = 'authenticated';"
            "set local request.jwt.claim.email = 'a@b.example'"
        )
        row = await client.fetchrow(
            "select auth.uid() as uid, auth.role() as role, auth.email() as email"
        )
        assert tuple(row) == (USER, "authenticated", "a@b.example")
        await client.execute('set local request.jwt.claim = \'{"sub":"whole"}\'')
        assert json.loads(await client.fetchval("select auth.jwt()")) == {"sub": "whole"}


@pytest.mark.needs("roles")
async def test_the_helpers_of_policies_leave_nothing_to_call(
    subject: Subject, spec: DatabaseSpec
) -> None:
    async with subject.opened(spec, Login.CLIENT) as client, client.transaction():
        await client.execute("set local role authenticated")
        plan = await client.fetch(
            "explain (verbose) select auth.uid(), auth.role(), auth.email(), auth.jwt()"
        )
        assert "auth." not in "".join(row[0] for row in plan)
        assert "current_setting" in "".join(row[0] for row in plan)


@pytest.mark.needs("roles")
async def test_claims_are_seen_by_sql_and_end_with_the_transaction(
    subject: Subject, spec: DatabaseSpec
) -> None:
    claims = json.dumps({"sub": str(USER), "role": "authenticated", "email": "a@b.example"})
    query = (
        "select auth.uid() as uid, auth.role() as role, auth.email() as email, auth.jwt() as jwt"
    )
    async with subject.opened(spec, Login.CLIENT) as client:
        async with client.transaction():
            await client.execute(
                f"set local role authenticated; set local request.jwt.claims = '{claims}'"
            )
            row = await client.fetchrow(query)
            assert (row["uid"], row["role"], row["email"]) == (USER, "authenticated", "a@b.example")
            assert json.loads(row["jwt"]) == json.loads(claims)
        async with client.transaction():
            # The setting is now an empty string instead of being unknown.
            await client.execute("set local role anon")
            assert tuple(await client.fetchrow(query)) == (None, None, None, None)


@pytest.mark.needs("roles")
async def test_sql_written_for_supabase_finds_its_uuids(
    subject: Subject, spec: DatabaseSpec
) -> None:
    async with subject.opened(spec, Login.CLIENT) as client:
        await client.execute("set role authenticated")
        made = await client.fetchval("select uuid_generate_v4()")
        assert made.version == 4


@pytest.mark.needs("roles")
async def test_sessions_of_our_logins_are_bounded(subject: Subject, spec: DatabaseSpec) -> None:
    for login in (Login.CLIENT, Login.SERVICE):
        async with subject.opened(spec, login) as connection:
            found = [
                await connection.fetchval("select current_setting($1)", name)
                for name in (
                    "statement_timeout",
                    "lock_timeout",
                    "idle_in_transaction_session_timeout",
                    "search_path",
                    "application_name",
                    "standard_conforming_strings",
                )
            ]
            assert found == ["8s", "5s", "15s", "public, extensions", "bulkhead", "on"]


@pytest.mark.needs("postgresql")
async def test_values_keep_their_types(subject: Subject, spec: DatabaseSpec) -> None:
    async with subject.opened(spec, Login.CLIENT) as client:
        row = await client.fetchrow(
            "select $1::jsonb as b, $2::json as j, $3::numeric(12, 2) as n", '{"a": 1}', "[1]", 1
        )
        assert (row["b"], row["j"]) == ('{"a": 1}', "[1]")
        assert row["n"] == Decimal("1.00")
        assert isinstance(row["n"], Decimal)


@pytest.mark.needs("extensions")
async def test_extensions_stand_in_a_schema_of_their_own(subject: Subject) -> None:
    async with subject.database(DatabaseSpec(fresh_name(), extensions=("pg_trgm",))) as spec:
        async with subject.opened(spec, Login.CLIENT) as client:
            await client.execute("set role anon")
            assert await client.fetchval("select extensions.similarity('ship', 'ship')") == 1
        await subject.driver.ensure_database(replace(spec, extensions=("pg_trgm", "citext")))
        async with subject.opened(spec, Login.CLIENT) as client:
            await client.execute("set role anon")
            assert await client.fetchval("select 'A'::citext = 'a'::citext")


@pytest.mark.needs("extensions")
async def test_an_extension_that_is_not_there_is_named(subject: Subject) -> None:
    spec = DatabaseSpec(fresh_name(), extensions=("no_such_extension",))
    with pytest.raises(CapabilityMissing, match="no_such_extension"):
        await subject.driver.ensure_database(spec)
    await subject.driver.drop_database(spec)


async def test_a_dropped_database_is_gone_and_a_repeat_does_nothing(subject: AnySubject) -> None:
    async with subject.database() as spec:
        async with subject.opened(spec, Login.CLIENT):
            await subject.driver.drop_database(spec)
        await subject.driver.drop_database(spec)
        assert await subject.catalogue(spec) == []
        with pytest.raises(DatabaseMissing):
            await subject.driver.connect(spec, Login.ADMIN, timeout_s=10)
        with pytest.raises((LoginRefused, DatabaseMissing)):
            await subject.driver.connect(spec, Login.CLIENT, timeout_s=10)


async def test_a_sealed_database_lets_no_login_in(subject: AnySubject) -> None:
    async with subject.database() as spec:
        await subject.driver.seal_template(spec)
        await subject.driver.ensure_database(spec)
        for login in (Login.CLIENT, Login.SERVICE):
            with pytest.raises(ServerUnreachable, match="sealed"):
                await subject.driver.connect(spec, login, timeout_s=10)
        await subject.driver.seal_template(spec, sealed=False)
        async with subject.opened(spec, Login.CLIENT) as client:
            assert (await subject.where(client))[0] == spec.name


async def test_no_more_connections_than_the_server_allows(subject: AnySubject) -> None:
    async with subject.database() as spec:
        await subject.limit_connections(spec, Login.CLIENT, 1)
        async with subject.opened(spec, Login.CLIENT):
            with pytest.raises(TooManyConnections):
                await subject.driver.connect(spec, Login.CLIENT, timeout_s=10)


async def test_another_secret_is_refused(subject: AnySubject, spec: DatabaseSpec) -> None:
    other = subject.with_secret(b"another secret of thirty-two byte")
    with pytest.raises(LoginRefused):
        await other.connect(spec, Login.CLIENT, timeout_s=10)
    with pytest.raises((RoleForeign, DatabaseForeign), match=r"another secret\.key"):
        await other.ensure_database(spec)
    with pytest.raises(DatabaseForeign, match=r"another secret\.key"):
        await other.drop_database(spec)


async def test_the_url_leads_other_programs_to_the_database(
    subject: AnySubject, spec: DatabaseSpec
) -> None:
    for login in Login:
        connection = await subject.dial(subject.driver.url(spec, login))
        database, user = await subject.where(connection)
        assert database == spec.name
        assert login is Login.ADMIN or user == spec.login(login)
        await connection.close()


async def test_no_password_reaches_the_server_s_records(
    subject: AnySubject, spec: DatabaseSpec
) -> None:
    url = subject.driver.url(spec, Login.CLIENT)
    password = url.partition("@")[0].rpartition(":")[2]
    stored = await subject.stored_password(spec, Login.CLIENT)
    assert stored.startswith(("SCRAM-SHA-256$", "*"))
    assert password not in stored


@pytest.mark.needs("postgresql")
async def test_capabilities_are_what_was_seen(subject: Subject, spec: DatabaseSpec) -> None:
    before = await subject.catalogue(spec)
    found = await subject.driver.probe(spec)
    assert await subject.catalogue(spec) == before
    assert found.version_number >= 150000
    assert found.server_version.startswith(str(found.version_number // 10000))
    assert found.transactional_ddl
    assert found.row_level_security
    assert found.policy_subquery
    assert found.template_clone is subject.clones
    assert found.listen_notify
    assert found.advisory_locks
    assert found.snapshot_export
    assert found.skip_locked
    assert found.set_role
    assert not found.behind_pooler
    assert found.tls is subject.encrypted
    assert "pg_trgm" in found.extensions
    async with subject.opened(spec, Login.ADMIN) as admin:
        assert await admin.fetch("select 1 from pg_database where datname like '%probe%'") == []
