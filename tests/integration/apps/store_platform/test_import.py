"""An archive of a store becomes a store again: all of it, on any kind of server, or nothing."""

from __future__ import annotations

import datetime as dt
import json
import random
import zipfile
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from mariadb_server import MariadbServer
from tests.integration.apps.store_platform.mariadb import make_mariadb, open_mariadb_store
from tests.integration.apps.store_platform.platform import Caller, Site, open_site
from tests.scenarios.effort import EFFORT

from bulkhead.apps.store_platform.copies import Copies
from bulkhead.apps.store_platform.store.catalogue_tables import CATEGORIES, PRODUCTS
from bulkhead.apps.store_platform.store.content_tables import CMS_PAGES, MEDIA_LIBRARY, SETTINGS
from bulkhead.apps.store_platform.store.sales_tables import CUSTOMERS, ORDER_ITEMS, ORDERS
from bulkhead.engine.drivers.endpoint import open_connection
from bulkhead.engine.errors import BulkheadError
from bulkhead.engine.failpoints import FailpointReached
from bulkhead.engine.fleet.archive import MANIFEST, ArchiveBroken, read_manifest
from bulkhead.engine.fleet.load import BEFORE_COMMIT, TABLE_LOADED, ArchiveUnfit, load_archive
from bulkhead.engine.fleet.model import TenantId
from bulkhead.engine.ids import new_id
from bulkhead.engine.testing import TestServers, crash_at

TABLES = (CATEGORIES, PRODUCTS, CMS_PAGES, MEDIA_LIBRARY, CUSTOMERS, ORDERS, ORDER_ITEMS, SETTINGS)
LETTERS = "aZ09 äß€茶🫖'\"\\,;\n\r\t%_{}[]\u2028\u0001"
AWKWARD = ["", "\\N", "NULL", '"', "a,b", "\\.", "\r\n", " ", "''", "%s", "\\x41", "t", "1"]
ROUNDS = 2 * EFFORT
FILES = 2


@pytest.fixture(scope="module")
async def site(
    servers: TestServers, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Site]:
    home: Path = tmp_path_factory.mktemp("home")
    async with open_site(servers, home) as site:
        await site.let_owners_have(stores=1000)
        yield site


@pytest.fixture(scope="module")
async def owner(site: Site) -> Caller:
    return await site.caller()


@pytest.fixture(scope="module")
async def open_store(site: Site, owner: Caller, mariadb: MariadbServer) -> Callable[[str], Any]:
    async def make(kind: str) -> UUID:
        if kind == "postgresql":
            return await site.open_store(owner)
        return (await open_mariadb_store(site, owner, await make_mariadb(mariadb)))[0]

    return make


class Rows:
    """Rows of a store, as odd as its constraints let them be."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)  # noqa: S311

    def text(self, length: int = 40) -> str:
        if self.chance.random() < 0.3:
            return self.chance.choice(AWKWARD)
        return "".join(self.chance.choices(LETTERS, k=self.chance.randrange(length)))

    def slug(self) -> str:
        return f"s{new_id().hex}"

    def instant(self) -> dt.datetime:
        hours = self.chance.randrange(-800_000, 2_000_000)
        micros = self.chance.choice([0, 1, 500_000, 999_999])
        return dt.datetime(2000, 1, 1, tzinfo=dt.UTC) + dt.timedelta(
            hours=hours, microseconds=micros
        )

    def money(self) -> Decimal:
        return Decimal(self.chance.choice([0, 1, 9_999_999_999, 12345])) / 10**4

    def document(self) -> dict[str, Any]:
        values = [self.text(), 1, -0.5, True, None, [], {"a": [self.text()]}, 10**15]
        return {self.text(): value for value in self.chance.sample(values, 3)}

    def all(self) -> list[tuple[sa.Table, dict[str, Any]]]:
        """Some of each table, in an order in which they can be added."""
        rows: list[tuple[sa.Table, dict[str, Any]]] = []
        parent = None
        for _ in range(3):
            category: dict[str, Any] = {
                "id": new_id(),
                "parent_id": parent,
                "slug": self.slug(),
                "name": "n",
            }
            rows.append((CATEGORIES, {**category, "description": self.text()}))
            parent = category["id"]
        for _ in range(4):
            product: dict[str, Any] = {
                "id": new_id(),
                "sku": self.slug(),
                "slug": self.slug(),
                "name": "n",
            }
            product |= {"description": self.text(400), "options": self.document()}
            product |= {"brand": self.chance.choice([None, self.text()])}
            product |= {"is_active": self.chance.random() < 0.5, "created_at": self.instant()}
            rows.append((PRODUCTS, {**product, "published_at": self.instant()}))
        for _ in range(2):
            page: dict[str, Any] = {
                "id": new_id(),
                "slug": self.slug(),
                "title": "t",
                "body": self.text(2000),
            }
            rows.append((CMS_PAGES, page))
            media: dict[str, Any] = {
                "storage_key": self.slug(),
                "file_name": "f",
                "content_type": "image/png",
            }
            media |= {"id": new_id(), "size_bytes": self.chance.randrange(2**40)}
            rows.append((MEDIA_LIBRARY, {**media, "alt": self.text()}))
            customer: dict[str, Any] = {"id": new_id(), "email": f"{self.slug()}@example.com"}
            rows.append((CUSTOMERS, {**customer, "name": self.text()}))
            order: dict[str, Any] = {
                "id": new_id(),
                "number": self.slug(),
                "email": "a@example.com",
            }
            amount = self.money()
            order |= {"currency": "EUR", "items_total": amount, "total": amount}
            order |= {"shipping_address": self.document(), "placed_at": self.instant()}
            rows.append((ORDERS, order))
            item: dict[str, Any] = {
                "order_id": order["id"],
                "line_number": 1,
                "sku": "s",
                "name": "n",
            }
            rows.append((ORDER_ITEMS, {**item, "unit_price": self.money(), "quantity": 2}))
            rows.append((SETTINGS, {"name": f"x.{self.slug()}", "value": self.document()}))
        return rows


async def fill(site: Site, store: UUID, seed: int) -> None:
    async with site.platform.fleet.transaction(TenantId(store)) as db:
        await db.execute(sa.update(CATEGORIES).values(parent_id=None))
        for table in reversed(TABLES):
            await db.execute(sa.delete(table))
        for table, values in Rows(seed).all():
            await db.execute(sa.insert(table).values(**values))


async def read(site: Site, store: UUID) -> dict[str, list[dict[str, Any]]]:
    """Every row as the application sees it, whatever server it is on; without files."""
    found = {}
    async with site.platform.fleet.connection(TenantId(store)) as db:
        for table in TABLES:
            if table is MEDIA_LIBRARY:
                continue
            key = list(table.primary_key.columns)
            rows = [dict(row) for row in await db.fetch(sa.select(table))]
            rows.sort(key=lambda row: [str(row[column.name]) for column in key])
            found[table.name] = rows
    return found


async def export(site: Site, store: UUID, path: Path) -> Path:
    path.unlink(missing_ok=True)
    await site.platform.lifecycle.export(TenantId(store), path)
    return path


@pytest.mark.parametrize("target_kind", ["postgresql", "mysql"])
@pytest.mark.parametrize("source_kind", ["postgresql", "mysql"])
async def test_a_store_comes_back_as_it_was(
    site: Site,
    owner: Caller,
    open_store: Callable[[str], Any],
    tmp_path: Path,
    source_kind: str,
    target_kind: str,
) -> None:
    source, target = await open_store(source_kind), await open_store(target_kind)
    for seed in range(ROUNDS):
        await fill(site, source, seed)
        path = await export(site, source, tmp_path / "store.zip")
        manifest, _ = await Copies(site.platform).load(target, path, is_replacing=seed > 0)
        expected = await read(site, source)
        assert await read(site, target) == expected
        assert manifest.rows == sum(map(len, expected.values())) + FILES
    shown = await owner.get(f"/stores/{target}")
    assert (shown["product_count"], shown["order_count"]) == (4, 2)
    assert shown["storage_used_bytes"] == 0, "files stay where they are, and their rows with them"
    assert (await owner.get(f"/stores/{target}/usage"))["usage"]["products"]["used"] == 4
    await owner.post(f"/stores/{target}/products", {"sku": "N", "slug": "n-1", "name": "New"})
    # What was loaded can be exported, and is the same archive but for its tenant.
    again = await export(site, source, tmp_path / "again.zip")
    assert [table.sha256 for table in read_manifest(again).tables] == [
        table.sha256 for table in read_manifest(path).tables
    ]


@pytest.mark.parametrize("kind", ["postgresql", "mysql"])
async def test_a_store_with_rows_is_left_as_it_is_unless_it_is_to_be_replaced(
    site: Site, owner: Caller, open_store: Callable[[str], Any], tmp_path: Path, kind: str
) -> None:
    source, target = await open_store(kind), await open_store(kind)
    await fill(site, source, 1)
    path = await export(site, source, tmp_path / "store.zip")
    await owner.post(f"/stores/{target}/products", {"sku": "N", "slug": "n-1", "name": "New"})
    before = await read(site, target)
    with pytest.raises(ArchiveUnfit, match="'products' has rows"):
        await Copies(site.platform).load(target, path)
    assert await read(site, target) == before
    await Copies(site.platform).load(target, path, is_replacing=True)
    assert await read(site, target) == await read(site, source)


@pytest.mark.parametrize("point", [TABLE_LOADED, BEFORE_COMMIT], ids=str)
@pytest.mark.parametrize("kind", ["postgresql", "mysql"])
async def test_a_process_that_dies_has_loaded_nothing(
    site: Site,
    owner: Caller,
    open_store: Callable[[str], Any],
    tmp_path: Path,
    kind: str,
    point: str,
) -> None:
    source, target = await open_store(kind), await open_store(kind)
    await fill(site, source, 1)
    path = await export(site, source, tmp_path / "store.zip")
    before = await read(site, target)
    with crash_at(point), pytest.raises(FailpointReached):
        await Copies(site.platform).load(target, path)
    refused = await owner.refused("GET", f"/stores/{target}/products")
    assert refused == (403, "tenant_suspended")
    await site.platform.lifecycle.resume(TenantId(target))
    assert await read(site, target) == before
    await Copies(site.platform).load(target, path)
    assert await read(site, target) == await read(site, source)


def rewrite(path: Path, change: Callable[[str, bytes], bytes]) -> None:
    """Put every file of an archive through `change`."""
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, change(name, content))


def in_manifest(**fields: object) -> Callable[[str, bytes], bytes]:
    def change(name: str, content: bytes) -> bytes:
        if name != MANIFEST:
            return content
        return json.dumps({**json.loads(content), **fields}).encode()

    return change


def without_column(name: str, content: bytes) -> bytes:
    """An archive whose products have no brand, and whose hashes are right."""
    if name != MANIFEST:
        return content
    manifest = json.loads(content)
    for table in manifest["tables"]:
        table["columns"] = [each for each in table["columns"] if each != "brand"]
    return json.dumps(manifest).encode()


CHANGES: dict[str, tuple[Callable[[str, bytes], bytes], type[BulkheadError], str]] = {
    "newer schema": (in_manifest(schema_version=99), ArchiveUnfit, "0099"),
    "older schema": (in_manifest(schema_version=1), ArchiveUnfit, "0001"),
    "other fleet": (in_manifest(fleet="shops"), ArchiveUnfit, "fleet 'shops'"),
    "other format": (in_manifest(format=2), ArchiveUnfit, "format is 2"),
    "fewer tables": (in_manifest(tables=[]), ArchiveUnfit, "tables or columns differ"),
    "fewer columns": (without_column, ArchiveUnfit, "products"),
    "no manifest": (lambda n, c: b"{" if n == MANIFEST else c, ArchiveBroken, "no manifest"),
    "odd manifest": (in_manifest(surprise=1), ArchiveBroken, "no manifest"),
    "changed rows": (lambda n, c: c + b"1\n" if ".csv" in n else c, ArchiveBroken, "was changed"),
    "changed schema": (lambda n, c: c + b"-- " if ".sql" in n else c, ArchiveBroken, "changed"),
}


@pytest.mark.parametrize(("change", "error", "reason"), CHANGES.values(), ids=CHANGES)
async def test_what_is_not_the_archive_of_such_a_store_is_refused(
    site: Site,
    refusing: tuple[UUID, Path],
    tmp_path: Path,
    change: Callable[[str, bytes], bytes],
    error: type[BulkheadError],
    reason: str,
) -> None:
    target, whole = refusing
    path = tmp_path / "store.zip"
    path.write_bytes(whole.read_bytes())
    rewrite(path, change)
    before = await read(site, target)
    with pytest.raises(error, match=reason):
        await Copies(site.platform).load(target, path, is_replacing=True)
    assert await read(site, target) == before


@pytest.fixture(scope="module")
async def refusing(
    site: Site, open_store: Callable[[str], Any], tmp_path_factory: pytest.TempPathFactory
) -> tuple[UUID, Path]:
    """A store that takes only its own archive, and that archive."""
    target = await open_store("postgresql")
    await fill(site, target, 1)
    return target, await export(site, target, tmp_path_factory.mktemp("whole") / "store.zip")


async def test_a_file_that_is_cut_off_or_none_is_refused(
    site: Site, refusing: tuple[UUID, Path], tmp_path: Path
) -> None:
    target, whole = refusing
    for content in (b"", b"PK", whole.read_bytes()[:-100], b"\0" * 1000):
        path = tmp_path / "store.zip"
        path.write_bytes(content)
        with pytest.raises(ArchiveBroken):
            await Copies(site.platform).load(target, path, is_replacing=True)


async def test_a_store_that_is_served_takes_no_archive(
    site: Site, refusing: tuple[UUID, Path]
) -> None:
    target, whole = refusing
    row = await site.platform.fleet.describe(TenantId(target))
    with pytest.raises(ArchiveUnfit, match="suspend it"):
        await load_archive(site.platform.databases, row, whole, is_replacing=True)


async def test_an_instant_that_mariadb_cannot_hold_keeps_the_archive_out(
    site: Site, open_store: Callable[[str], Any], tmp_path: Path
) -> None:
    source, target = await open_store("postgresql"), await open_store("mysql")
    await fill(site, source, 1)
    async with site.platform.fleet.transaction(TenantId(source)) as db:
        await db.execute("update products set published_at = 'infinity'")
    path = await export(site, source, tmp_path / "store.zip")
    before = await read(site, target)
    with pytest.raises(ArchiveUnfit, match="'products'"):
        await Copies(site.platform).load(target, path)
    assert await read(site, target) == before


@pytest.mark.parametrize("server", ["shared", "plain"])
async def test_a_store_whose_owner_runs_postgresql_comes_back_too(
    site: Site, owner: Caller, servers: TestServers, tmp_path: Path, server: str
) -> None:
    """Its one user is no superuser; on the shared server there are the roles of clients, too."""
    source = await site.open_store(owner)
    await fill(site, source, 1)
    path = await export(site, source, tmp_path / "store.zip")
    driver: Any = await servers.driver(server)
    endpoint = getattr(driver, "_driver", driver).endpoint
    name, target = f"own_{new_id().hex[-10:]}", await owner.make_store()
    admin = await open_connection(endpoint, endpoint.administrator(), timeout_s=10)
    try:
        await admin.execute(f"create role {name} login password 'correct horse'")
        await admin.execute(f"create database {name} owner {name}")
        config: dict[str, Any] = {"host": "127.0.0.1", "port": endpoint.port, "ssl": False}
        config |= {"database": name, "username": name, "password": "correct horse"}
        body = {"storeId": str(target), "config": config}
        job = (await owner.post("/provision", body))["jobId"]
        await site.platform.provisioning.run_once()
        assert (await owner.get(f"/provision/{job}/status"))["status"] == "active"
        await Copies(site.platform).load(target, path)
        assert await read(site, target) == await read(site, source)
        again = await export(site, target, tmp_path / "again.zip")
        await Copies(site.platform).load(source, again, is_replacing=True)
        assert await read(site, target) == await read(site, source)
    finally:
        await site.platform.fleet.drain(TenantId(target), 5)
        await admin.execute(f"drop database if exists {name} with (force)")
        await admin.execute(f"drop role {name}")
        await admin.close()
