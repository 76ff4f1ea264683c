from pathlib import Path

import pytest

from bulkhead.engine.migrations.files import (
    MigrationInvalid,
    MigrationNameInvalid,
    MigrationOrderBroken,
    build_set,
    load_migrations,
    parse_migration,
)

TEXT = """-- Products, the first table.
create table products (id uuid primary key);

-- migrate:down
drop table products;
"""


def test_a_file_has_a_version_a_name_and_two_parts() -> None:
    migration = parse_migration("shop", "0001_initial.sql", TEXT)
    assert (migration.version, migration.name) == (1, "initial")
    assert migration.label == "0001_initial"
    assert [each.text for each in migration.up_statements] == [
        "create table products (id uuid primary key)"
    ]
    (down,) = migration.down_statements
    assert (down.text, down.line) == ("drop table products", 5)


@pytest.mark.parametrize(
    "changed",
    [
        TEXT.replace("\n", "\r\n"),
        TEXT.replace("\n", "  \n"),
        "\ufeff" + TEXT,
        "\n\n" + TEXT + "\n\n",
    ],
)
def test_what_an_editor_changes_unasked_leaves_the_checksum(changed: str) -> None:
    first = parse_migration("shop", "0001_initial.sql", TEXT)
    assert parse_migration("shop", "0001_initial.sql", changed).checksum == first.checksum


def test_any_other_change_changes_the_checksum() -> None:
    first = parse_migration("shop", "0001_initial.sql", TEXT)
    other = parse_migration("shop", "0001_initial.sql", TEXT.replace("uuid", "UUID"))
    assert other.checksum != first.checksum


@pytest.mark.parametrize(
    "name",
    [
        "1_initial.sql",
        "0001-initial.sql",
        "0001_Initial.sql",
        "0000_zero.sql",
        "0001_.sql",
        "x.sql",
    ],
)
def test_a_bad_name_is_refused(name: str) -> None:
    with pytest.raises(MigrationNameInvalid):
        parse_migration("shop", name, TEXT)


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("create table a ();\n", 1, "migrate:down"),
        (TEXT + "-- migrate:down\n", 6, "twice"),
        ("-- only words\n-- migrate:down\ndrop table a;", 1, "up part is empty"),
        ("create table a ();\n-- migrate:down\n-- cannot\n", 2, "down part is empty"),
        ("create table a ();\ncommit;\n-- migrate:down\ndrop table a;", 2, "transaction"),
        ("create table a ();\n-- migrate:down\ndrop table a;\nvacuum;", 4, "transaction"),
        ("create table a ();\nselect 'x;\n-- migrate:down\ndrop table a;", 2, "never closed"),
    ],
)
def test_a_bad_file_is_refused_with_its_line(text: str, line: int, reason: str) -> None:
    with pytest.raises(MigrationInvalid) as caught:
        parse_migration("shop", "0001_initial.sql", text)
    assert caught.value.details["line"] == line
    assert reason in caught.value.message


def test_a_folder_is_loaded_in_order(tmp_path: Path) -> None:
    for name in ("0002_second.sql", "0001_first.sql"):
        (tmp_path / name).write_text(TEXT, encoding="utf-8")
    (tmp_path / "README.md").write_text("not a migration", encoding="utf-8")
    loaded = load_migrations("shop", tmp_path)
    assert [migration.label for migration in loaded.migrations] == ["0001_first", "0002_second"]
    assert loaded.latest == 2
    assert loaded.find(3) is None


def test_an_empty_folder_is_an_empty_set_but_a_missing_one_an_error(tmp_path: Path) -> None:
    assert load_migrations("shop", tmp_path).latest == 0
    with pytest.raises(MigrationOrderBroken, match="there is no folder"):
        load_migrations("shop", tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (["0001_a.sql", "0003_c.sql"], "0002 is missing"),
        (["0002_b.sql"], "0001 is missing"),
        (["0001_a.sql", "0001_b.sql"], "0001 is there twice"),
    ],
)
def test_gaps_and_duplicates_are_refused(names: list[str], reason: str) -> None:
    migrations = [parse_migration("shop", name, TEXT) for name in names]
    with pytest.raises(MigrationOrderBroken, match=reason):
        build_set("shop", migrations)


def test_a_namespace_is_a_lower_case_identifier() -> None:
    with pytest.raises(MigrationOrderBroken, match="identifier"):
        build_set("My Shop", [])
