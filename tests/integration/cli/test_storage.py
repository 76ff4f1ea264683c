"""Buckets of stores and the files in them, from the command line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.capabilities.storage.s3_server import REGION, S3Server, s3_server
from tests.integration.cli.conftest import Shop

from bulkhead.engine.ids import new_id

PNG = bytes.fromhex("89504e470d0a1a0a0000000d49484452000000050000000708020000008edc2c5e")


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    with s3_server() as server:
        yield server


def options(s3: S3Server, bucket: str) -> tuple[str, ...]:
    place = ("--bucket", bucket, "--region", REGION, "--endpoint", s3.url)
    return (*place, "--access-key-id", s3.keys.access_key_id)


def test_a_bucket_is_connected_tried_shown_and_forgotten_and_its_secret_never_told(
    shop: Shop, s3: S3Server, tmp_path: Path
) -> None:
    s3.make_bucket("cli-one")
    store = shop.make_store("Pictures")
    secret, given = f"{s3.keys.secret}\n", options(s3, "cli-one")
    assert shop.refused("storage", "show", store) == (5, "storage_not_connected")
    wrong = shop.refused("storage", "add", store, *given, typed="wrong\n")
    assert wrong == (2, "storage_credentials_refused")
    assert shop.refused("storage", "show", store) == (5, "storage_not_connected")
    added = shop.run("storage", "add", store, *given, typed=secret)
    assert added.out == f"The files of store '{store}' go to the bucket 'cli-one'.\n"
    shown = shop.json("storage", "show", store)
    assert (shown["storageType"], shown["status"]) == ("aws-s3", "working")
    [row] = [row for row in shop.json("storage", "list") if row["store"] == store]
    assert (row["bucket"], row["endpoint"], row["used_bytes"]) == ("cli-one", s3.url, 0)
    assert shop.json("storage", "test", store) == {"store": store, "works": True}
    tables = shop.done("storage", "list") + shop.done("storage", "show", store)
    assert s3.keys.secret not in f"{added} {shown} {row} {tables}"
    # As the API takes it, from a file; and another bucket that is only tried.
    s3.make_bucket("cli-two")
    config = {"bucket": "cli-two", "region": REGION, "endpoint": s3.url}
    config |= {"accessKeyId": s3.keys.access_key_id, "secretAccessKey": s3.keys.secret}
    file = tmp_path / "storage.json"
    file.write_text(json.dumps({"storageType": "aws-s3", "config": config}))
    shop.done("storage", "test", store, "--from", str(file))
    assert shop.json("storage", "show", store)["config"]["bucket"] == "cli-one"
    shop.done("storage", "add", store, "--from", str(file))
    assert shop.json("storage", "show", store)["config"]["bucket"] == "cli-two"
    declined = shop.run("storage", "remove", store, typed="n\n")
    assert (declined.code, declined.out) == (130, "")
    shop.done("storage", "remove", store, "--yes")
    assert shop.refused("storage", "remove", store, "--yes") == (5, "storage_not_connected")


def test_files_are_uploaded_listed_checked_and_deleted(
    shop: Shop, s3: S3Server, tmp_path: Path
) -> None:
    s3.make_bucket("cli-files")
    store = shop.make_store("Files")
    given = options(s3, "cli-files")
    shop.done("storage", "add", store, *given, typed=s3.keys.secret)
    file = tmp_path / "mug.png"
    file.write_bytes(PNG)
    row = shop.json("media", "upload", store, str(file), "--alt", "A mug", "--private")
    assert (row["content_type"], row["width"], row["alt"]) == ("image/png", 5, "A mug")
    assert list(s3.objects("cli-files").values()) == [PNG]
    assert [it["id"] for it in shop.json("media", "list", store)] == [row["id"]]
    assert shop.json("media", "show", store, row["id"])["url"].startswith(s3.url)
    assert shop.refused("storage", "remove", store, "--yes") == (5, "storage_in_use")
    refused = shop.refused("media", "upload", store, str(file), "--type", "image/jpeg")
    assert refused == (2, "media_misnamed")
    assert shop.refused("media", "upload", store, str(file), "--name", "a/b") == (2, "invalid")
    assert shop.json("storage", "check", store) == []
    [key] = s3.objects("cli-files")
    s3.rename("cli-files", key, f"{key[:-36]}{new_id()}")
    [stray] = s3.objects("cli-files")
    answer = shop.run("--json", "storage", "check", store, "--strays")
    assert {it["file"] for it in json.loads(answer.out)} == {row["id"], stray[-36:]}
    checked = shop.run("--json", "storage", "check", store)
    assert checked.code == 7
    finding = {"file": row["id"], "name": "mug.png", "finding": "its object is missing"}
    assert json.loads(checked.out) == [finding]
    shop.done("media", "delete", store, row["id"], "--yes")
    assert shop.refused("media", "delete", store, row["id"], "--yes") == (4, "not_found")
    assert shop.run("storage", "check", store).code == 0
    shop.done("storage", "remove", store, "--yes")


def test_files_come_along_with_a_clone_and_with_an_archive(
    shop: Shop, s3: S3Server, tmp_path: Path
) -> None:
    s3.make_bucket("cli-copies")
    source, target = shop.make_store("Files Here"), shop.make_store("Files There")
    given = options(s3, "cli-copies")
    shop.done("storage", "add", source, *given, typed=s3.keys.secret)
    file, archive = tmp_path / "mug.png", tmp_path / "store.zip"
    file.write_bytes(PNG)
    row = shop.json("media", "upload", source, str(file))
    assert shop.refused("tenant", "clone", source, target, "--yes") == (5, "files_homeless")
    left = shop.json("tenant", "clone", source, target, "--without-files", "--yes")
    assert (left["files"], left["left"]) == (0, [])
    shop.done("storage", "add", target, *given, typed=s3.keys.secret)
    told = shop.run("tenant", "clone", source, target, "--yes")
    assert "and the 1 files (" in told.out
    assert "100 %  copying files" in told.err
    assert [it["id"] for it in shop.json("media", "list", target)] == [row["id"]]
    assert len(s3.objects("cli-copies")) == 2
    shop.done("tenant", "export", source, str(archive))
    shop.done("media", "delete", source, row["id"], "--yes")
    given_up = ("tenant", "import", source, str(archive), "--replace", "--yes")
    answer = shop.run("--json", *given_up, "--files-from", source)
    found = json.loads(answer.out)
    assert (answer.code, row["id"] in answer.err) == (7, True)
    assert found["left"] == [{"file": row["id"], "reason": "object_unknown"}]
    found = shop.json(*given_up, "--files-from", target)
    assert (found["files"], found["bytes"], found["left"]) == (1, len(PNG), [])
    assert shop.json("storage", "check", source) == []
    assert shop.refused(*given_up, "--files-from", "nobody") == (4, "not_found")


@pytest.mark.parametrize(
    "given",
    [
        (),
        ("--region", REGION),
        ("--bucket", "b"),
        ("--bucket", "b", "--region", REGION, "--access-key-id", "A"),
        ("--bucket", "b", "--type", "google-cloud-storage"),
        ("--from", __file__, "--bucket", "b"),
        ("--secret-access-key", "x"),
    ],
)
def test_options_that_say_too_little_or_too_much_are_refused(
    shop: Shop, given: tuple[str, ...]
) -> None:
    assert shop.refused("storage", "add", "nobody", *given) == (2, "usage")


def test_a_file_that_is_no_connection_is_refused_without_repeating_it(
    shop: Shop, tmp_path: Path
) -> None:
    file = tmp_path / "storage.json"
    for text in ("", "{", '{"storageType": "aws-s3", "config": {"secretAccessKey": "hunter2"}}'):
        file.write_text(text)
        answer = shop.run("storage", "add", "nobody", "--from", str(file))
        assert answer.code == 2
        assert "hunter2" not in answer.out + answer.err
