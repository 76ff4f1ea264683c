"""Stores are looked after by their slugs: closed, opened, written to files, and moved."""

import json
import zipfile
from pathlib import Path

import pytest
from tests.integration.cli.conftest import Shop

from bulkhead.engine import failpoints
from bulkhead.engine.fleet import replication
from bulkhead.engine.fleet.move_steps import POINTS
from bulkhead.engine.testing import crash_at

KEEP = "insert into settings (name, value) values ('kept', '{\"of\": \"this store\"}')"
BACK = ("migrate", "rollback", "-a", "store_platform", "--tenants", "--to", "1", "--yes")
READ = "select value from settings where name = 'kept'"


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (("show", "nobody"), 4, "not_found"),
        (("suspend", "nobody"), 4, "not_found"),
        (("delete", "nobody", "--yes"), 4, "not_found"),
        (("export", "nobody", "nobody.zip"), 4, "not_found"),
        (("move", "nobody"), 4, "not_found"),
        (("list", "--server", "nobody"), 4, "server_unknown"),
        (("list", "--state", "lost"), 2, "usage"),
        (("delete", "nobody", "--grace-days", "-1", "--yes"), 2, "usage"),
        (("show",), 2, "usage"),
        (("sho", "nobody"), 2, "usage"),
    ],
)
def test_what_is_not_there_is_said_to_be_not_there(
    shop: Shop, arguments: tuple[str, ...], code: int, word: str
) -> None:
    assert shop.refused("tenant", *arguments) == (code, word)


def test_a_store_is_closed_and_opened_again(shop: Shop) -> None:
    slug = shop.make_store("Corner")
    found = shop.json("tenant", "show", slug)
    assert found["answers"] == "yes, postgresql"
    assert shop.json("tenant", "show", found["id"])["database"] == found["database"]
    assert shop.done("tenant", "suspend", slug, "--reason", "unpaid") == (
        "Store 'corner' is suspended.\n"
    )
    assert "no: Tenant corner is suspended: unpaid." in shop.done("tenant", "show", slug)
    listed = shop.done("tenant", "list", "--state", "suspended")
    assert listed.splitlines()[1].split() == [
        *("corner", "postgresql", found["server"], "suspended", str(found["version"]), "unpaid")
    ]
    assert found["id"] not in listed
    assert shop.json("tenant", "resume", slug)["state"] == "active"
    assert shop.json("tenant", "show", slug)["answers"] == "yes, postgresql"


def test_a_store_is_closed_here_while_its_server_is_away(shop: Shop, east: str) -> None:
    slug, near = shop.make_store("Far Away", "--label", "region=eu"), shop.make_store("Near By")
    with shop.east.away():
        assert shop.refused("tenant", "clone", near, slug, "--yes") == (6, "server_unreachable")
        states = {row["slug"]: row["state"] for row in shop.json("tenant", "list")}
        assert states[slug] == "active", "nothing was copied, so that it is served as before"
        told = shop.run("tenant", "suspend", slug, "--reason", "unpaid")
        assert (told.code, told.out) == (8, "Store 'far-away' is suspended.\n")
        assert "Its server could not be told: The server 127.0.0.1:" in told.err
        assert "bulkhead up tells it as soon as it answers" in told.err
        gone = shop.run("--json", "tenant", "delete", slug, "--yes")
        assert gone.code == 8
        assert "cannot be reached" in json.loads(gone.out)["server_untold"]
        back = shop.run("--json", "tenant", "restore", slug)
        assert (back.code, json.loads(back.out)["state"]) == (8, "active")
    assert shop.json("tenant", "suspend", slug)["server_untold"] is None
    assert shop.json("tenant", "resume", slug)["server_untold"] is None
    assert shop.json("tenant", "show", slug)["answers"] == "yes, postgresql"


def test_a_store_is_deleted_only_when_that_is_confirmed_and_comes_back(shop: Shop) -> None:
    slug = shop.make_store("Regret")
    shop.query(slug, KEEP)
    declined = shop.run("tenant", "delete", slug, typed="n\n")
    assert (declined.code, declined.out) == (130, "")
    assert "Delete the store 'regret'" in declined.err
    assert "Nothing was done." in declined.err
    assert shop.json("tenant", "show", slug)["state"] == "active"
    told = shop.run("tenant", "delete", slug, typed="y\n")
    assert told.code == 0
    assert "bulkhead tenant restore regret" in told.err
    assert shop.json("tenant", "show", slug)["answers"] == "no: Tenant regret was deleted."
    assert shop.done("tenant", "restore", slug) == "Store 'regret' is active.\n"
    [row] = shop.query(slug, READ)
    assert json.loads(row["value"]) == {"of": "this store"}


def test_a_store_is_written_to_a_new_file_only(shop: Shop, tmp_path: Path) -> None:
    slug = shop.make_store("Archive")
    shop.query(slug, KEEP)
    file = tmp_path / "archive.zip"
    assert f"of 'archive' to {file}" in shop.done("tenant", "export", slug, str(file))
    with zipfile.ZipFile(file) as archive:
        assert b"this store" in archive.read("tables/public.settings.csv")
        assert archive.testzip() is None
    before = file.read_bytes()
    again = shop.run("tenant", "export", slug, str(file))
    assert (again.code, file.read_bytes() == before) == (1, True)
    assert "it is there already" in again.err
    nowhere = shop.run("tenant", "export", slug, str(tmp_path / "no" / "where.zip"))
    assert nowhere.code == 1
    assert "No such file or directory" in nowhere.err


def verify_is_taken_back(shop: Shop, slug: str, east: str) -> None:
    """Of a move that ended because the server does not fit, nothing is left to go on with."""
    with pytest.MonkeyPatch.context() as patch:

        def grow_old(point: str) -> None:
            if point == POINTS["started"]:
                patch.setattr(replication, "VERSION_MIN", 990000)

        failpoints.observe(grow_old)
        refused = shop.run("tenant", "move", slug, "--server", east)
        failpoints.observe(None)
    assert "capability_missing" in refused.err
    assert f"bulkhead tenant move {slug}" not in refused.err
    assert "bulkhead tenant revert" not in refused.err


def verify_is_interrupted(shop: Shop, slug: str, east: str) -> None:
    """A move that stopped at its beginning says how it ends, and drops nothing."""
    verify_is_taken_back(shop, slug, east)
    assert shop.refused("tenant", "revert", slug) == (4, "move_unknown")
    with crash_at(POINTS["schema_copied"]):
        shop.run("tenant", "move", slug, "--server", east)
    shown = shop.run("tenant", "show", slug)
    assert ("started" in shown.out, f"bulkhead tenant move {slug}" in shown.err) == (True, True)
    assert "tenant confirm" not in shown.err
    refused = shop.run("tenant", "confirm", slug, typed="y\n")
    assert (refused.code, "Drop the database" in refused.err) == (5, False)
    assert shop.refused("tenant", "move", slug, "--server", "local") == (5, "conflict")
    assert shop.done("tenant", "revert", slug) == f"Store '{slug}' is back on local.\n"


def test_a_store_moves_there_and_back_and_there_for_good(shop: Shop, east: str) -> None:
    shop.done("server", "drain", east)
    slug = shop.make_store("Traveller")
    shop.done("server", "drain", east, "--end")
    shop.query(slug, KEEP)
    assert shop.refused("tenant", "move", slug, "--server", "nowhere") == (4, "server_unknown")
    assert shop.refused("tenant", "move", slug, "--label", "region=us") == (6, "no_server_fits")
    assert shop.refused("tenant", "move", slug, "--server", "local") == (5, "move_refused")
    verify_is_interrupted(shop, slug, east)

    moved = shop.run("tenant", "move", slug, "--label", "region=eu")
    assert moved.code == 0, moved
    assert moved.out.startswith("Store 'traveller' moved from local to east; nobody could write")
    assert "bulkhead tenant confirm traveller" in moved.err
    assert "verified" in shop.json("tenant", "show", slug)["move"]
    assert shop.refused("tenant", "move", slug, "--server", "local") == (5, "conflict")
    shop.query(slug, KEEP.replace("kept", "on.the.way"))
    assert shop.done("tenant", "revert", slug) == "Store 'traveller' is back on local.\n"
    names = {row["name"] for row in shop.query(slug, "select name from settings")}
    assert names >= {"kept", "on.the.way"}
    assert shop.json("tenant", "show", slug)["server"] == "local"

    assert shop.json("tenant", "move", slug, "--server", east)["rows"] >= 4
    assert shop.refused("server", "remove", east) == (5, "server_in_use")
    held = shop.run(*BACK, "--tenant", slug)
    waits = ")  waits: its move to 'east' is neither confirmed nor reverted"
    assert (held.out, waits in held.err) == ("nothing to do\n", True)
    declined = shop.run("tenant", "confirm", slug, typed="n\n")
    assert declined.code == 130
    assert "Drop the database of 'traveller' on local? It is on east now." in declined.err
    assert shop.json("tenant", "confirm", slug, "--yes") == {"step": "confirmed"}
    assert {row["name"] for row in shop.query(slug, "select name from settings")} == names
    assert shop.refused("tenant", "revert", slug) == (4, "move_unknown")


def test_a_server_is_emptied_and_forgotten(shop: Shop, east: str) -> None:
    slug = shop.make_store("Last One", "--label", "region=eu")
    shop.query(slug, KEEP)
    assert shop.json("tenant", "show", slug)["server"] == east
    drained = shop.run("server", "drain", east)
    assert "bulkhead tenant move STORE" in drained.err
    left = drained.out.split()[1:]
    assert slug in left
    refused = shop.run("tenant", "move", slug, "--label", "region=eu")
    assert refused.code == 6
    assert "tenant; wanted: label region=eu, another one than 'east'." in refused.err
    assert shop.refused("server", "remove", east) == (5, "server_in_use")
    for store in left:
        shop.done("tenant", "move", store, "--server", "local")
    empty = shop.run("server", "drain", east)
    assert (empty.out, "have to be confirmed" in empty.err) == ("", True)
    assert "server remove" not in empty.err
    shop.done("server", "drain", east, "--end")
    assert shop.refused("server", "remove", east) == (5, "server_in_use")
    assert {row["name"]: row["drained"] for row in shop.json("server", "list")}[east] is False
    for store in left:
        shop.done("tenant", "confirm", store, "--yes")
    drained = shop.run("server", "drain", east)
    assert (drained.out, "bulkhead server remove east" in drained.err) == ("", True)
    shop.done("server", "remove", east)
    assert east not in [row["name"] for row in shop.json("server", "list")]
    [row] = shop.query(slug, READ)
    assert json.loads(row["value"]) == {"of": "this store"}
