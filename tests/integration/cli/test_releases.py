"""Commands of one release at databases of another say which migrations are between them."""

import asyncpg
from tests.integration.cli.conftest import Shop

from bulkhead.cli.session import run

MASTER = ("-a", "store_platform", "-d", "master")
BACK = ("--namespace", "engine", "--to", "8", "--yes")
LATER = (
    "insert into bulkhead.migrations (namespace, version, name, checksum, up_sql, down_sql,"
    " duration_ms) values ('engine', 1000, 'later', '', '', '', 0)"
)
SOONER = "delete from bulkhead.migrations where version = 1000"


def change(shop: Shop, *statements: str) -> None:
    """What another release does to the master."""
    url = shop.json("database", "url", "master", "-a", "store_platform", "--login", "admin")["url"]

    async def work() -> None:
        connection = await asyncpg.connect(url)
        for statement in statements:
            await connection.execute(statement)
        await connection.close()

    run(work())


def test_a_database_of_an_older_release_is_not_worked_on_until_it_is_migrated(shop: Shop) -> None:
    shop.done("migrate", "rollback", *MASTER, *BACK)
    try:
        assert shop.refused("tenant", "list") == (5, "database_behind")
        told = shop.run("tenant", "list").err
        assert "lacks migration engine/0009_fleet_upkeep, which this program needs" in told
        assert "bulkhead migrate apply -a store_platform" in told
        found = shop.run("doctor", "-a", "store_platform")
        assert found.code == 7
        assert "engine lacks 0009_fleet_upkeep" in found.out
    finally:
        shop.done("migrate", "apply", *MASTER)
    assert shop.run("tenant", "list").code == 0


def test_a_database_of_a_newer_release_is_told_when_it_is_too_new(shop: Shop) -> None:
    change(shop, LATER)
    try:
        assert shop.run("tenant", "list").code == 0, "a release bears the schema of the next one"
        change(shop, "alter table bulkhead.fleet_tenants rename column reason to why")
        assert shop.refused("tenant", "list") == (5, "database_ahead")
        assert "engine/1000_later" in shop.run("tenant", "list").err
    finally:
        change(shop, "alter table bulkhead.fleet_tenants rename column why to reason", SOONER)
