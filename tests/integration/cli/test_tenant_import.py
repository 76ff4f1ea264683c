"""A store that was written to a file becomes a store again."""

from pathlib import Path

from tests.integration.cli.conftest import Shop

KEEP = "insert into settings (name, value) values ('kept', '{\"of\": \"the archive\"}')"
READ = "select value from settings where name = 'kept'"


def test_an_archive_is_loaded_into_a_new_store_and_into_another_only_on_request(
    shop: Shop, tmp_path: Path
) -> None:
    source, target = shop.make_store("Archived"), shop.make_store("Reborn")
    file = tmp_path / "archived.zip"
    shop.query(source, KEEP)
    shop.done("tenant", "export", source, str(file))
    told = shop.done("tenant", "import", target, str(file))
    assert told == f"Store {target} has the 4 rows of archived.zip.\n"
    assert len(shop.query(target, READ)) == 1
    assert shop.json("tenant", "show", target)["state"] == "active"
    assert shop.json("tenant", "import", target, str(file))["rows"] == 4, "it has first rows only"
    shop.query(
        target, "insert into categories (id, slug, name) values (gen_random_uuid(), 'a', 'A')"
    )
    refused = shop.run("tenant", "import", target, str(file))
    assert refused.code == 5
    assert f"[archive_unfit] Archive {file} cannot be loaded into tenant {target}:" in refused.err
    assert len(shop.query(target, "select id from categories")) == 2
    declined = shop.run("tenant", "import", target, str(file), "--replace", typed="n\n")
    assert (declined.code, declined.out) == (130, "")
    replaced = shop.json("tenant", "import", target, str(file), "--replace", "--yes")
    assert replaced["rows"] == 4
    [category] = shop.query(target, "select slug from categories")
    assert category["slug"] == "general"


def test_what_is_no_archive_is_refused(shop: Shop, tmp_path: Path) -> None:
    store = shop.make_store("Untouched")
    file = tmp_path / "broken.zip"
    file.write_bytes(b"PK\x03\x04 and no more")
    assert shop.refused("tenant", "import", store, str(file))[1] == "archive_broken"
    assert shop.json("tenant", "show", store)["state"] == "active"
    assert shop.refused("tenant", "import", "nobody", str(file)) == (4, "not_found")
    missing = str(tmp_path / "missing.zip")
    assert shop.refused("tenant", "import", store, missing) == (2, "usage")
