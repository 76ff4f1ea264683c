from dataclasses import replace

import pytest

from bulkhead.engine.drivers.bootstrap import (
    DatabaseState,
    plan_database,
    quote_name,
    quote_text,
    render,
    verify_ours,
)
from bulkhead.engine.drivers.errors import DatabaseForeign
from bulkhead.engine.drivers.protocol import DatabaseSpec
from bulkhead.engine.drivers.roles import mark
from bulkhead.engine.drivers.secret import Secret

SECRET = Secret(bytes(32))
SPEC = DatabaseSpec("shop")
COMPLETE = DatabaseState(
    owner="shop_owner",
    mark=mark(SECRET),
    is_sealed=False,
    rights_complete=True,
    settings=frozenset({"search_path=public, extensions"}),
)


def test_nothing_is_planned_where_nothing_is_missing() -> None:
    assert plan_database(SPEC, COMPLETE, SECRET) == []


def test_the_mark_comes_last_so_that_a_marked_database_is_complete() -> None:
    bare = DatabaseState("shop_owner", None, False, False, frozenset())  # noqa: FBT003
    statements = plan_database(SPEC, bare, SECRET)
    assert len(statements) == 4
    assert statements[-1] == f"comment on database \"shop\" is '{mark(SECRET)}'"


def test_only_marked_databases_and_those_of_our_owner_are_ours() -> None:
    verify_ours(COMPLETE, "server", SPEC, SECRET)
    verify_ours(replace(COMPLETE, mark=None), "server", SPEC, SECRET)
    for foreign in (
        replace(COMPLETE, mark=None, owner="somebody"),
        replace(COMPLETE, mark="my database"),
        replace(COMPLETE, mark=mark(Secret(bytes(range(32))))),
    ):
        with pytest.raises(DatabaseForeign):
            verify_ours(foreign, "server", SPEC, SECRET)


def test_a_script_is_filled_in_as_psql_does() -> None:
    script = render("database.sql", owner='we"ird')
    assert 'set local role "we""ird";' in script
    assert ':"' not in script


def test_quotes_are_doubled() -> None:
    assert quote_name('a"b') == '"a""b"'
    assert quote_text("a'b") == "'a''b'"
