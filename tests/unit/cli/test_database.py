"""`bulkhead database extract`, which needs no server."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from bulkhead.apps import SchemaUndeclared
from bulkhead.cli.main import cli

GOLDEN = Path(__file__).parent / "golden"
RENEW = "if it is meant to change: bulkhead database extract store_platform.store --dialect {} > {}"


def run(*arguments: str, first: tuple[str, ...] = ()) -> str:
    command = [*first, "database", "extract", *arguments]
    done = CliRunner().invoke(cli, command, standalone_mode=False)
    if done.exception is not None:
        raise done.exception
    return done.stdout


@pytest.mark.parametrize("dialect", ["postgresql", "mysql"])
def test_the_schema_of_a_store_is_printed_as_it_was(dialect: str) -> None:
    path = GOLDEN / f"store.{dialect}.sql"
    printed = run("store_platform.store", "--dialect", dialect)
    assert printed == path.read_text(encoding="utf-8"), RENEW.format(dialect, path)


def test_a_schema_is_printed_as_json() -> None:
    printed = json.loads(run("store_platform.store", "--no-client-roles", first=("--json",)))
    names = [table["name"] for table in printed["tables"]]
    assert {"products", "orders", "order_items", "_identity"} <= set(names)
    assert printed["dialect"] == "postgresql"
    assert [table["access"] for table in printed["tables"] if table["access"]] == []


@pytest.mark.parametrize(
    "name", ["commerce.users", "nothing.store", "..", "store_platform", "os.path"]
)
def test_what_declares_no_schema_is_said_to(name: str) -> None:
    with pytest.raises(SchemaUndeclared):
        run(name)
