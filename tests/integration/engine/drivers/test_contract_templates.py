"""What a driver promises of templates and their clones, wherever a server can clone."""

import asyncio
from dataclasses import replace

import pytest
from tests.integration.engine.drivers.subject import Subject, clone_of, fresh_name

from bulkhead.engine.drivers.errors import (
    LoginRefused,
    ServerUnreachable,
    TemplateUnusable,
)
from bulkhead.engine.drivers.protocol import DatabaseSpec, Login


@pytest.mark.needs("templates")
async def test_a_clone_has_the_contents_and_the_rights_of_its_template(subject: Subject) -> None:
    async with subject.database() as template:
        await subject.migrate(
            template,
            "create table things (id integer primary key);"
            "insert into things (id) values (7);"
            "grant select on things to anon",
        )
        async with subject.database(clone_of(template)) as clone:
            async with subject.opened(clone, Login.CLIENT) as client:
                assert await client.fetchval("show search_path") == "public, extensions"
                await client.execute("set role anon")
                assert await client.fetchval("select id from things") == 7
            await subject.migrate(clone, "alter table things add column name text")
            await subject.driver.ensure_database(clone)


@pytest.mark.needs("templates")
async def test_a_clone_may_have_logins_of_its_own(subject: Subject) -> None:
    async with (
        subject.database() as template,
        subject.database(clone_of(template, own_logins=True)) as one,
        subject.database(clone_of(template, own_logins=True)) as other,
    ):
        async with subject.opened(one, Login.CLIENT) as client:
            await client.execute("set role anon")
        for prefix in (one.name, template.name):
            trespasser = replace(other, login_prefix=prefix)
            for login in (Login.CLIENT, Login.SERVICE):
                with pytest.raises(LoginRefused):
                    await subject.driver.connect(trespasser, login, timeout_s=10)


@pytest.mark.needs("templates")
async def test_clones_can_be_made_at_once_from_a_sealed_template(subject: Subject) -> None:
    async with subject.database() as template:
        await subject.driver.seal_template(template)
        with pytest.raises(ServerUnreachable):
            await subject.driver.connect(template, Login.ADMIN, timeout_s=10)
        await subject.driver.ensure_database(template)
        clones = [clone_of(template) for _ in range(3)]
        async with asyncio.TaskGroup() as group:
            for clone in clones:
                group.create_task(subject.driver.ensure_database(clone))
        for clone in clones:
            async with subject.opened(clone, Login.CLIENT) as client:
                await client.execute("set role anon")
            await subject.driver.drop_database(clone)
        await subject.driver.seal_template(template, sealed=False)
        async with subject.opened(template, Login.CLIENT) as client:
            assert await client.fetchval("select current_database()") == template.name


@pytest.mark.needs("templates")
async def test_a_template_that_cannot_be_used_is_explained(
    subject: Subject, spec: DatabaseSpec
) -> None:
    stranger = DatabaseSpec(fresh_name(), template=spec.name)
    with pytest.raises(TemplateUnusable, match=f"role_prefix='{spec.name}'"):
        await subject.driver.ensure_database(stranger)
    missing = DatabaseSpec(fresh_name(), template="no_such_template")
    with pytest.raises(TemplateUnusable, match="no such database"):
        await subject.driver.ensure_database(missing)
    for unmade in (stranger, missing):
        await subject.driver.drop_database(unmade)


@pytest.mark.needs("templates")
async def test_roles_stay_as_long_as_another_database_needs_them(subject: Subject) -> None:
    async with subject.database() as template, subject.database(clone_of(template)) as clone:
        await subject.driver.drop_database(template)
        async with subject.opened(clone, Login.CLIENT) as client:
            await client.execute("set role anon")
    async with subject.look() as admin:
        left = await admin.fetch(
            "select 1 from pg_roles where rolname like $1", f"{template.name}%"
        )
    assert left == []
