"""The schema cache follows what is done to the database, without anybody waiting or failing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import httpx
import pytest
from tests.integration.engine.schema.guarded import MIGRATIONS
from tests.integration.gateway.rest.library import CONFIG, NOBODY, Library, api, open_library

from bulkhead.engine.connections.claims import ANON
from bulkhead.engine.drivers.protocol import Login
from bulkhead.engine.migrations.apply import apply
from bulkhead.engine.testing import TestServers
from bulkhead.gateway.rest import schema_cache
from bulkhead.gateway.rest.app import RestGateway
from bulkhead.gateway.rest.errors import SchemaCacheMissing
from bulkhead.gateway.rest.schema import Schema
from bulkhead.gateway.rest.schema_cache import SchemaCache
from bulkhead.gateway.rest.schema_load import load_fingerprint

SHELF = """
create schema api;
grant usage on schema api to anon;
create table api.shelf (id integer primary key, title text);
insert into api.shelf select n, 'book ' || n from generate_series(1, 10) n;
grant all on all tables in schema api to anon;
alter default privileges in schema api grant all on tables to anon;
"""
PATIENCE_S = 20.0


@pytest.fixture
async def shelf(servers: TestServers) -> AsyncIterator[Library]:
    async with open_library(await servers.driver("shared"), "shelf", SHELF) as library:
        yield library


@asynccontextmanager
async def following(library: Library) -> AsyncIterator[SchemaCache]:
    cache = SchemaCache(library.database, CONFIG)
    await cache.start()
    try:
        yield cache
    finally:
        await cache.close()


async def wait_for_change(cache: SchemaCache, schema: Schema) -> Schema:
    async with asyncio.timeout(PATIENCE_S):
        return await cache.wait_for_change(schema)


async def wait_until_listening(cache: SchemaCache) -> None:
    async with asyncio.timeout(PATIENCE_S):
        await cache.listening.wait()


@asynccontextmanager
async def away(library: Library) -> AsyncIterator[None]:
    """Let nobody but administrators connect inside the block."""
    name = library.database.spec.name
    await library.admin.execute(f"alter database {name} connection limit 0")
    while library.database.clients.give_up_idle():
        pass
    try:
        yield
    finally:
        await library.admin.execute(f"alter database {name} connection limit -1")


async def test_a_changed_definition_is_told_by_the_database(shelf: Library) -> None:
    async with following(shelf) as cache:
        await wait_until_listening(cache)
        before = await cache.current()
        await shelf.admin.execute("create table api.box (id integer primary key)")
        made = await wait_for_change(cache, before)
        assert api("box") in made.tables
        assert made.version > before.version
        await shelf.admin.execute("drop table api.box")
        assert api("box") not in (await wait_for_change(cache, made)).tables


async def test_a_temporary_table_is_nobody_elses_business(shelf: Library) -> None:
    heard: asyncio.Queue[str] = asyncio.Queue()
    listener = await shelf.database.driver.connect(shelf.database.spec, Login.ADMIN, timeout_s=10)
    try:
        await listener.add_listener("pgrst", lambda *words: heard.put_nowait(words[-1]))
        await shelf.admin.execute("create temporary table mine (id integer); drop table mine")
        await shelf.admin.execute("create table api.box (id integer)")
        await shelf.admin.execute("notify pgrst, 'done'")
        async with asyncio.timeout(PATIENCE_S):
            assert await heard.get() == "reload schema"
            assert await heard.get() == "done"
    finally:
        await listener.close()


@pytest.mark.parametrize("payload", ["", "reload schema", "reload config"])
async def test_somebody_may_tell_in_words(shelf: Library, payload: str) -> None:
    await shelf.admin.execute("drop event trigger bulkhead_schema_changed")
    async with following(shelf) as cache:
        await wait_until_listening(cache)
        before = await cache.current()
        await shelf.admin.execute("comment on table api.shelf is 'told'")
        await shelf.admin.execute(f"notify pgrst, '{payload}'")
        found = await wait_for_change(cache, before)
        assert found.tables[api("shelf")].description == "told"


async def test_a_migration_tells_where_nobody_may_have_event_triggers(shelf: Library) -> None:
    await shelf.admin.execute(
        "drop event trigger bulkhead_schema_changed; drop event trigger bulkhead_schema_dropped"
    )
    heard: asyncio.Queue[str] = asyncio.Queue()
    await shelf.admin.add_listener("pgrst", lambda *words: heard.put_nowait(words[-1]))
    await apply(shelf.admin, shelf.database.spec, [MIGRATIONS])
    async with asyncio.timeout(PATIENCE_S):
        assert await heard.get() == "reload schema"
    await apply(shelf.admin, shelf.database.spec, [MIGRATIONS])
    assert heard.empty()


async def test_what_a_request_did_not_find_is_looked_for(shelf: Library) -> None:
    await shelf.admin.execute(
        "drop event trigger bulkhead_schema_changed; drop event trigger bulkhead_schema_dropped"
    )
    cache = SchemaCache(shelf.database, CONFIG)
    before = await cache.current()
    assert not await cache.refresh(before)
    await shelf.admin.execute("alter table api.shelf add column room text")
    assert await cache.refresh(before)
    found = await cache.current()
    assert "room" in found.tables[api("shelf")].columns
    assert await cache.refresh(before), "who asks about an older one is told of the newer one"
    assert not await cache.refresh(found)


async def test_many_who_do_not_find_anything_share_a_look(shelf: Library) -> None:
    cache = SchemaCache(shelf.database, CONFIG)
    schema = await cache.current()
    acquired = shelf.database.clients.stats.acquired
    async with asyncio.TaskGroup() as tasks:
        asked = [tasks.create_task(cache.refresh(schema)) for _ in range(200)]
    assert not any(task.result() for task in asked)
    assert shelf.database.clients.stats.acquired - acquired <= 2


async def test_what_means_the_same_is_not_taken_over(shelf: Library) -> None:
    cache = SchemaCache(shelf.database, CONFIG)
    schema = await cache.current()
    await shelf.admin.execute("create index on api.shelf (title)")
    assert not await cache.refresh(schema)
    assert await cache.current() is schema


async def test_an_old_schema_serves_while_the_database_is_away(shelf: Library) -> None:
    cache = SchemaCache(shelf.database, CONFIG)
    schema = await cache.current()
    async with away(shelf):
        assert not await cache.refresh(schema)
        assert await cache.current() is schema


async def test_a_database_that_was_away_at_the_start_is_read_when_it_is_back(
    shelf: Library,
) -> None:
    cache = SchemaCache(shelf.database, CONFIG)
    async with away(shelf):
        await cache.start()
        with pytest.raises(SchemaCacheMissing) as caught:
            await cache.current()
        assert caught.value.http_status == 503
        assert (b"retry-after", b"1") in caught.value.headers
    assert api("shelf") in (await cache.current()).tables
    await cache.close()


async def test_a_listener_that_lost_its_connection_listens_again(shelf: Library) -> None:
    async with following(shelf) as cache:
        await wait_until_listening(cache)
        before = await cache.current()
        await shelf.admin.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where datname = current_database() and pid <> pg_backend_pid()"
        )
        await shelf.admin.execute("create table api.box (id integer)")
        assert api("box") in (await wait_for_change(cache, before)).tables


async def test_polling_finds_what_nobody_told(
    shelf: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema_cache, "POLL_S", 0.05)
    monkeypatch.setattr(schema_cache, "LISTENING_POLL_S", 0.05)
    await shelf.admin.execute("drop event trigger bulkhead_schema_changed")
    async with following(shelf) as cache:
        before = await cache.current()
        await shelf.admin.execute("create table api.box (id integer)")
        assert api("box") in (await wait_for_change(cache, before)).tables


CHANGES = [
    "create table api.box (id integer)",
    "alter table api.shelf alter column title set default 'none'",
    "alter table api.shelf alter column title drop default",
    "alter table api.shelf alter column title set not null",
    "alter table api.shelf drop column title",
    "create type api.kind as enum ('a')",
    "alter type api.kind add value 'b'",
    "create view api.seen as select id from api.shelf",
    "create or replace view api.seen as select id, 1 as one from api.shelf",
    "create function api.one() returns integer language sql as 'select 1'",
    "create or replace function api.one() returns integer language sql stable as 'select 1'",
    "alter table api.box add constraint ref foreign key (id) references api.shelf",
    "alter table api.box drop constraint ref",
    "comment on column api.shelf.id is 'the number'",
    "alter table api.box set schema public",
    "drop view api.seen",
    "alter schema api rename to other",
    "alter role anon set work_mem = '5MB'",
    "alter role anon reset work_mem",
]


async def test_the_fingerprint_tells_every_change_and_nothing_else(shelf: Library) -> None:
    async def look() -> str:
        async with shelf.database.transaction(NOBODY, read_only=True) as tx:
            return await load_fingerprint(tx)

    before = await look()
    for change in CHANGES:
        await shelf.admin.execute(change)
        after = await look()
        assert after != before, change
        assert await look() == after
        before = after


async def test_writing_and_cleaning_up_changes_no_fingerprint(shelf: Library) -> None:
    async def look() -> str:
        async with shelf.database.transaction(NOBODY, read_only=True) as tx:
            return await load_fingerprint(tx)

    before = await look()
    await shelf.admin.execute("insert into api.shelf values (11), (12)")
    await shelf.admin.execute("analyze api.shelf")
    await shelf.admin.execute("vacuum api.shelf")
    assert await look() == before


STATEMENTS = [
    "alter table api.shelf add column room text",
    "alter table api.shelf rename column room to hall",
    "alter table api.shelf alter column hall type varchar(10)",
    "alter table api.shelf drop column hall",
    "create table api.box (id integer primary key, shelf_id integer references api.shelf)",
    "insert into api.box values (1, 1)",
    "create view api.boxes as select * from api.box",
    "create or replace function api.boxes() returns bigint language sql as 'select 1::bigint'",
    "drop view api.boxes",
    "drop table api.box",
    "alter table api.shelf rename to rack; alter table api.rack rename to shelf",
]
TARGETS = [
    "/shelf?select=*&limit=3",
    "/shelf?select=id,room&limit=3",
    "/shelf?select=id,hall&hall=eq.x",
    "/shelf?select=id,box(id)",
    "/box?select=*,shelf(title)",
    "/boxes",
    "/rpc/boxes",
    "/",
]


async def test_definitions_change_while_requests_run_and_none_of_them_fails(
    shelf: Library,
) -> None:
    gateway = RestGateway(shelf.database, replace(CONFIG, max_rows=100), lambda _: ANON)
    await gateway.start()
    changing = True
    statuses: dict[int, str] = {}
    transport = httpx.ASGITransport(app=gateway)
    async with httpx.AsyncClient(transport=transport, base_url="http://shelf") as client:

        async def ask(start: int) -> None:
            number = start
            while changing:
                target = TARGETS[number % len(TARGETS)]
                answer = await client.get(target)
                statuses.setdefault(answer.status_code, f"{target}: {answer.text}")
                number += 1

        async with asyncio.TaskGroup() as tasks:
            for start in range(4):
                tasks.create_task(ask(start))
            rounds = 0
            while rounds < 8 or not {200, 400, 404} <= set(statuses):
                for statement in STATEMENTS:
                    await shelf.admin.execute(statement)
                rounds += 1
            changing = False
        await shelf.admin.execute("create table api.box (id integer)")
        assert (await client.get("/box")).json() == []
    await gateway.close()
    assert set(statuses) == {200, 400, 404}, statuses
