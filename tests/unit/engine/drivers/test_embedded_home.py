import os
from pathlib import Path

import pytest

from bulkhead.engine.drivers.embedded_home import (
    LOG_BYTES_MAX,
    Address,
    DataUnusable,
    Home,
    explain_failure,
    remove_socket_directory,
    render_configuration,
    rotate_log,
)
from bulkhead.engine.drivers.secret import SecretUnusable

GIGABYTE = 1024**3


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    home.create()
    return home


def test_the_address_is_remembered(home: Home) -> None:
    assert home.find_address() is None
    home.store_address(Address(5433, "/run/pg"))
    assert home.find_address() == Address(5433, "/run/pg")


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"port": "x", "socket": ""}', "{}"])
def test_a_damaged_address_counts_as_none(home: Home, text: str) -> None:
    (home.path / "server.json").write_text(text)
    assert home.find_address() is None


def test_a_secret_is_made_once(home: Home) -> None:
    assert home.ensure_secret() == home.ensure_secret()


def test_a_secret_is_not_made_for_data_of_another(home: Home) -> None:
    home.data.mkdir()
    with pytest.raises(SecretUnusable, match="there is data"):
        home.ensure_secret()


def test_a_home_that_cannot_be_made_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataUnusable, match="cannot be used"):
        Home(tmp_path / "file").create()


def test_links_are_not_followed_out_of_the_home(home: Home, tmp_path: Path) -> None:
    home.lock.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        home.open_file(home.lock, 0)
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize(
    ("memory", "shared"),
    [(GIGABYTE // 2, "64MB"), (8 * GIGABYTE, "256MB"), (512 * GIGABYTE, "512MB")],
)
def test_memory_is_used_within_bounds(memory: int, shared: str) -> None:
    assert f"shared_buffers = {shared}\n" in render_configuration(durable=True, memory_bytes=memory)


def test_only_tests_go_without_syncing() -> None:
    assert "fsync = off" not in render_configuration(durable=True)
    text = render_configuration(durable=False)
    assert "fsync = off" in text
    assert "synchronous_commit" not in text.replace("so synchronous_commit stays on", "")


@pytest.mark.parametrize(
    ("log", "reason"),
    [
        ("FATAL:  could not write: No space left on device\n", "the disk is full"),
        ("initdb: error: could not write: Disk quota exceeded\n", "the disk is full"),
        ("FATAL:  could not map anonymous shared memory: Cannot allocate memory\n", "memory"),
        ("LOG:  a\nFATAL:  something odd\nLOG:  database system is shut down\n", "something odd"),
        ("initdb: could not look up effective user ID 7: user does not exist\n", "has no name"),
        ("", "no message"),
    ],
)
def test_a_log_is_turned_into_a_reason(log: str, reason: str) -> None:
    assert reason in explain_failure(log)[0]


def test_a_large_log_is_put_aside(home: Home) -> None:
    home.log.write_text("small")
    rotate_log(home)
    assert home.log.exists()
    os.truncate(home.log, LOG_BYTES_MAX + 1)
    rotate_log(home)
    assert not home.log.exists()
    assert home.log.with_suffix(".log.1").exists()


def test_only_our_own_socket_folders_are_removed(tmp_path: Path) -> None:
    remove_socket_directory(Address(5432, str(tmp_path)))
    assert tmp_path.exists()
