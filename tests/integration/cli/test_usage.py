"""What stores use, the keys of their secrets, and the versions of their databases."""

import json

import pytest
from tests.integration.cli.conftest import Shop

from bulkhead.apps.store_platform.fleet import Platform
from bulkhead.cli.output import Output
from bulkhead.cli.stores import on_store
from bulkhead.engine.fleet.model import TenantId
from bulkhead.engine.fleet.owner import as_owner


def test_what_a_store_uses_is_shown_with_its_limits(shop: Shop) -> None:
    slug = shop.make_store("Figures")
    rows = {row["metric"]: row for row in shop.json("usage", "show", slug)}
    assert rows["products"] == {"metric": "products", "used": 0, "limit": 100}
    assert rows["storage_bytes"]["limit"] == 1_000_000_000
    assert rows["stores_of_owner"]["limit"] == 25
    lines = [line.split() for line in shop.done("usage", "show", slug).splitlines()]
    assert ["storage", "0", "B", "1", "GB"] in lines
    assert ["api", "calls", "0", "10,000"] in lines
    assert shop.json("usage", "rollup", slug) in ({"rolled_up": True}, {"rolled_up": False})
    assert shop.json("usage", "days", slug) == []
    assert shop.run("usage", "check").code == 0


@pytest.mark.parametrize("verb", ["show", "days", "rollup"])
def test_there_are_no_figures_of_a_store_that_is_not_there(shop: Shop, verb: str) -> None:
    assert shop.refused("usage", verb, "nobody") == (4, "not_found")
    assert shop.refused("usage", verb) == (2, "usage")


def test_keys_are_rotated_and_what_they_sealed_goes_on_to_open(shop: Shop, east: str) -> None:
    slug = shop.make_store("Sealed", "--label", "region=eu")
    assert shop.json("tenant", "show", slug)["server"] == east
    kept = [key for key in shop.json("secret", "list") if key["tenant"] == "server:east"]
    assert kept[0]["state"] == "current"
    rotated = shop.run("secret", "rotate")
    assert rotated.code == 0
    assert "bulkhead secret export-key FILE" in rotated.err
    shop.done("secret", "rotate", "--finish")
    assert shop.json("secret", "rotate", "-t", "server:east")["values"] >= 1
    assert shop.refused("secret", "rotate", "-t", "nobody")[1] == "secret_rotation_refused"
    now = [key for key in shop.json("secret", "list") if key["tenant"] == "server:east"]
    assert len(now) > len(kept)
    assert now[0]["master"] != kept[0]["master"]
    assert shop.run("secret", "verify").code == 0
    # The owner's own database is sealed under the store, which is named by its slug.
    place = (*shop.east.options, "--database", "postgres")
    own = shop.make_store("Own Place", *place)
    [key] = shop.json("secret", "list", "-t", own)
    assert key["tenant"] == shop.json("tenant", "show", own)["id"]
    assert shop.json("secret", "rotate", "-t", own)["values"] >= 1
    assert shop.json("tenant", "show", own)["answers"] == "yes, postgresql"
    assert shop.json("tenant", "show", slug)["answers"] == "yes, postgresql"


def test_the_versions_of_all_stores_are_counted_and_brought_up_to_date(shop: Shop) -> None:
    shop.make_store("Versions")
    given = ("-a", "store_platform", "--tenants")
    rows = [row for row in shop.json("migrate", "status", *given) if row["tenants"]]
    assert rows
    assert all(row["version"] == row["latest"] and not row["failed"] for row in rows)
    assert shop.json("migrate", "plan", *given)["due"] == 0
    assert json.loads(shop.done("--json", "migrate", "apply", *given))["tenants"] == 0
    assert shop.done("migrate", "apply", *given) == "nothing to do\n"
    assert shop.refused("migrate", "apply", *given, "--fleet", "other") == (2, "usage")
    assert shop.refused("migrate", "rollback", "-a", "store_platform", "--to", "1") == (2, "usage")


def test_tenants_are_migrated_by_name_and_told_by_name_and_id(shop: Shop) -> None:
    one, other = shop.make_store("Rolled Back"), shop.make_store("Left Alone")
    given = ("-a", "store_platform", "--tenants")
    back = ("migrate", "rollback", *given, "--to", "1", "--yes", "--tenant", one)
    rolled = shop.run("--json", *back)
    assert "· tenants rolled-back · back to 0001" in rolled.err
    assert json.loads(rolled.out)["tenants"] == 1
    listed = {row["slug"]: row for row in shop.json("tenant", "list")}
    assert [listed[store]["version"] for store in (one, other)] == [1, 2]
    assert shop.refused("migrate", "apply", *given, "--tenant", "nobody") == (4, "not_found")

    def change(statement: str) -> None:
        async def work(platform: Platform, key: TenantId) -> None:
            row = await platform.fleet.describe(key)
            async with as_owner(platform.databases, row) as owner:
                await owner.execute(statement, (), timeout_s=10)

        on_store(Output(home=str(shop.home)), one, work)

    change("create table public.orders_updated_at_id_idx (id integer)")
    key = listed[one]["id"]
    failed = shop.run("migrate", "apply", *given, "--tenant", key)
    assert failed.code == 7
    assert f"{one} ({key})  Migration stores/0002_order_requests.sql failed" in failed.err
    status = shop.run("migrate", "status", *given)
    assert f"{one} ({key})  Migration stores/0002_order_requests.sql failed" in status.err
    change("drop table public.orders_updated_at_id_idx")
    assert json.loads(shop.done("--json", "migrate", "apply", *given, "--tenant", one))["done"] == 1
