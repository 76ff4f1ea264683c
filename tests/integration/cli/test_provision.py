"""Stores get their databases from the command line; what goes wrong says what to do next."""

import json
import os
import signal
import subprocess
import sys

import pytest
from tests.integration.cli.conftest import OWNER, Shop

from bulkhead.apps.store_platform import routes
from bulkhead.engine.ids import new_id

COMMAND = (sys.executable, "-m", "bulkhead")


def test_a_store_is_made_and_followed_until_it_is_ready(shop: Shop) -> None:
    answer = shop.run("provision", "create", "Tea House", "--owner", OWNER)
    assert answer.code == 0
    assert answer.out == "Store 'tea-house' is ready, on a postgresql database of 21 tables.\n"
    assert "100 %  Ready" in answer.err
    assert "bulkhead tenant show tea-house" in answer.err
    [job] = [row for row in shop.json("provision", "list") if row["label"] == "tea-house"]
    assert (job["state"], job["progress"], job["mode"]) == ("active", 100, "create")
    for name in ("tea-house", job["tenant"], job["id"]):
        assert shop.json("provision", "show", name)["id"] == job["id"]
    assert "21/21 tables" in shop.done("provision", "show", "tea-house")
    # A table that people read has no ids in it.
    assert job["id"] not in shop.done("provision", "list")
    assert "tea-house" in shop.done("provision", "list")


def test_asking_again_for_a_database_that_is_there_changes_nothing(shop: Shop) -> None:
    slug = shop.make_store("Twice")
    before = shop.json("tenant", "show", slug)
    assert shop.run("provision", "start", slug).code == 0
    assert shop.json("tenant", "show", slug) == before
    assert shop.refused("provision", "create", "Twice", "--owner", OWNER) == (5, "slug_taken")
    assert shop.refused("provision", "cancel", slug) == (5, "provisioning_job_ended")


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (("create", "Shop"), 2, "usage"),
        (("create", "Shop", "--owner", "nobody@example.com"), 4, "not_found"),
        (("create", "Shop", "--owner", OWNER, "--slug", "A B"), 2, "slug_refused"),
        (("create", "Shop", "--owner", OWNER, "--label", "region"), 2, "usage"),
        (("create", "Shop", "--owner", OWNER, "--database", "here"), 2, "usage"),
        (("create", "Shop", "--owner", OWNER, "--host", "db.example.com"), 2, "usage"),
        (("create", "Shop", "--owner", OWNER, "--type", "oracle"), 2, "usage"),
        (("start", "nobody"), 4, "not_found"),
        (("show", "nobody"), 4, "not_found"),
        (("watch", str(new_id())), 4, "provisioning_job_unknown"),
        (("cancel", str(new_id())), 4, "provisioning_job_unknown"),
        (("list", "--limit", "0"), 2, "usage"),
        (("test",), 2, "usage"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_there_is_a_store(
    shop: Shop, arguments: tuple[str, ...], code: int, word: str
) -> None:
    assert shop.refused("provision", *arguments) == (code, word)
    assert shop.refused("tenant", "show", "shop") == (4, "not_found")


def test_a_password_is_piped_in_or_asked_for_and_never_printed(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = ("--host", "127.0.0.1", "--port", str(shop.east.port), "--tls", "disable")
    place = (*host, "--username", shop.east.user, "--database", "postgres")
    password = shop.east.password_file.read_text()
    tried = shop.run("provision", "test", *place, typed=password)
    assert tried.code == 0, tried
    assert "The connection works: PostgreSQL" in tried.out
    assert password.strip() not in tried.out + tried.err
    assert shop.refused("provision", "test", *place) == (2, "usage")
    assert shop.refused("provision", "test", *place, typed="wrong\n") == (6, "login_refused")
    monkeypatch.setattr(routes, "SILENCE_S", 1.0)
    closed = ("--host", "127.0.0.1", "--port", "1", "--tls", "disable", *place[6:])
    assert shop.refused("provision", "test", *closed, typed="x\n") == (6, "host_unreachable")
    private = ("--host", "10.0.0.1", *place[6:])
    assert shop.refused("provision", "test", *private, typed="x\n") == (2, "host_refused")


def test_a_job_that_failed_is_told_with_what_to_do_and_succeeds_when_it_is_repaired(
    shop: Shop,
) -> None:
    place = (*shop.east.options, "--database", "ghost")
    answer = shop.run("provision", "create", "Ghost", "--owner", OWNER, *place)
    assert answer.code == 1
    assert answer.out.startswith("Store 'ghost' got no database. There is no database 'ghost'")
    assert "Create the database on the server" in answer.err
    assert "bulkhead provision start ghost" in answer.err
    assert shop.run("provision", "watch", "ghost").code == 1
    assert shop.json("provision", "show", "ghost")["error"]["code"] == "database_missing"
    assert shop.refused("tenant", "show", "ghost") == (4, "tenant_unknown")
    again = shop.run("provision", "start", "ghost")
    assert (again.code, shop.json("tenant", "show", "ghost")["answers"]) == (0, "yes, postgresql")


def test_a_job_that_waits_is_cancelled_and_leaves_nothing(shop: Shop) -> None:
    options = ("--owner", OWNER, "--label", "region=nowhere", "--no-wait")
    answer = shop.run("provision", "create", "Nowhere", *options)
    assert answer.code == 0
    assert "Nothing works on it before `bulkhead up`" in answer.err
    assert shop.json("provision", "show", "nowhere")["state"] == "queued"
    assert "cancelled, nothing is left" in shop.done("provision", "cancel", "nowhere")
    assert shop.json("provision", "show", "nowhere")["state"] == "cancelled"
    assert shop.refused("tenant", "show", "nowhere") == (4, "tenant_unknown")


def test_who_stops_watching_does_not_stop_the_job(shop: Shop) -> None:
    shop.done(
        *("provision", "create", "Patient", "--owner", OWNER, "--label", "region=moon", "--no-wait")
    )
    watching = subprocess.Popen(
        [*COMMAND, "--home", str(shop.home), "provision", "watch", "patient"],
        env={"PATH": os.defpath, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert watching.stderr is not None
    for line in watching.stderr:
        if "region" in line:
            break
    watching.send_signal(signal.SIGINT)
    out, err = watching.communicate(timeout=60)
    assert (watching.returncode, out) == (130, "")
    assert "It goes on by itself. Watch it: bulkhead provision watch patient" in err
    assert "Traceback" not in err
    assert shop.json("provision", "show", "patient")["state"] in {"queued", "running"}
    assert json.loads(shop.done("--json", "provision", "cancel", "patient"))["state"] == "cancelled"
