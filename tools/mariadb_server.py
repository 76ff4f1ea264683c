"""A MariaDB server of its own for tests and benchmarks: no service, no root, gone afterwards.

It runs in a new folder under an unprivileged account and listens on a free port of the loopback and
on a socket, with TLS where it is given certificates. Ready in about a second and a half, because
the system tables are made from the package's scripts without the help texts.
"""

import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from quiet_port import quiet_port

from bulkhead.engine.drivers.embedded_install import Account, choose_account

ABSENT = "no MariaDB server on this machine; as root: tools/install_servers.sh"
SHARES = (Path("/usr/share/mysql"), Path("/usr/share/mariadb"))
SCRIPTS = ("system_tables.sql", "performance_tables.sql", "system_tables_data.sql")
SEARCH = "/usr/sbin:/usr/libexec:/usr/local/sbin:/usr/local/bin:/usr/bin:/opt/homebrew/bin"
START_TIMEOUT_S = 120.0
POLL_S = 0.01
# Small, quick and not durable; everything that a client sees is as the package has it.
SETTINGS = (
    "--no-defaults",
    "--innodb-flush-log-at-trx-commit=0",
    "--innodb-log-file-size=16M",
    "--innodb-buffer-pool-size=64M",
    "--loose-innodb-use-native-aio=0",
    "--character-set-server=utf8mb4",
)


class MariadbFailed(Exception):
    """The server did not start."""


@dataclass(slots=True)
class MariadbServer:
    """A server in the folder `home`; its administrator is `root`, from 127.0.0.1 and the socket."""

    home: Path
    program: Path
    account: Account
    port: int
    password: str
    ca_file: Path | None
    options: tuple[str, ...] = ()
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def socket(self) -> Path:
        """The Unix socket."""
        return self.home / "socket"

    @property
    def data(self) -> Path:
        """The data directory."""
        return self.home / "data"

    def start(self) -> None:
        """Start it and wait until it answers; raises MariadbFailed."""
        with (self.home / "log").open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603
                [
                    self.program,
                    *SETTINGS,
                    f"--datadir={self.data}",
                    f"--socket={self.socket}",
                    f"--port={self.port}",
                    f"--tmpdir={self.home}",
                    f"--pid-file={self.home / 'pid'}",
                    f"--init-file={self.home / 'init.sql'}",
                    "--bind-address=127.0.0.1",
                    "--skip-name-resolve",
                    "--performance-schema=OFF",
                    "--max-connections=300",
                    *self.options,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.home,
                **self.account.spawn,
            )
        self._wait()

    def stop(self, *, kill: bool = False) -> None:
        """Stop it, or kill it as a crash would."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
            self._process.wait()
            self._process = None

    def restart(self, *, kill: bool = False) -> None:
        """Stop it and start it again, with the same data and port."""
        self.stop(kill=kill)
        self.start()

    def pause(self) -> None:
        """Let it hang: connections are accepted, and nothing is answered."""
        assert self._process is not None, "a server that was started"
        self._process.send_signal(signal.SIGSTOP)
        # Its threads stop one after another: until all have, one may answer.
        while psutil.Process(self._process.pid).status() != psutil.STATUS_STOPPED:
            time.sleep(POLL_S)

    def resume(self) -> None:
        """End `pause`."""
        assert self._process is not None, "a server that was started"
        self._process.send_signal(signal.SIGCONT)

    def _wait(self) -> None:
        """A server that accepts connections greets; before that, nobody takes them."""
        assert self._process is not None, "started just now"
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline_s:
            if self._process.poll() is not None:
                break
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=1) as client:
                    if client.recv(1):
                        return
            except OSError:
                time.sleep(POLL_S)
        self.stop(kill=True)
        log = (self.home / "log").read_text(errors="replace")
        message = f"MariaDB did not start:\n{log[-2000:]}"
        raise MariadbFailed(message)


def find_mariadbd() -> Path | None:
    """The server's program, if it is installed together with its scripts."""
    found = shutil.which("mariadbd") or shutil.which("mariadbd", path=SEARCH)
    return Path(found) if found and _scripts() else None


@contextmanager
def run_mariadb(
    home: Path, certificates: Mapping[str, bytes] | None = None, *options: str
) -> Iterator[MariadbServer]:
    """Run one in the new folder `home`, whose parents every account may pass through.

    `certificates` are the contents of ca.crt, server.crt and server.key. Raises MariadbFailed.
    """
    program = find_mariadbd()
    assert program is not None, ABSENT
    home.mkdir(mode=0o755)
    account = choose_account(home / "data", home)
    account.own(home)
    password = secrets.token_urlsafe(16)
    tls = _write_certificates(home, account, certificates)
    _write_init(home, account, password)
    _install(program, home, account)
    server = MariadbServer(
        home,
        program,
        account,
        quiet_port(),
        password,
        home / "ca.crt" if certificates else None,
        (*tls, *options),
    )
    server.start()
    try:
        yield server
    finally:
        server.stop(kill=True)


def _install(program: Path, home: Path, account: Account) -> None:
    """Make the system tables, as mariadb-install-db does."""
    for folder in (home / "data", home / "data" / "mysql"):
        folder.mkdir(mode=0o700)
        account.own(folder)
    scripts = _scripts()
    sql = b"use mysql;\nset @auth_root_socket = null;\n"
    done = subprocess.run(  # noqa: S603
        [
            program,
            *SETTINGS,
            "--bootstrap",
            f"--datadir={home / 'data'}",
            f"--tmpdir={home}",
            f"--lc-messages-dir={scripts[0].parent}",
            "--default-storage-engine=Aria",
            "--enforce-storage-engine=",
        ],
        input=sql + b"".join(script.read_bytes() for script in scripts),
        capture_output=True,
        cwd=home,
        check=False,
        **account.spawn,
    )
    if done.returncode:
        message = f"MariaDB made no system tables:\n{done.stderr.decode(errors='replace')[-2000:]}"
        raise MariadbFailed(message)


def _scripts() -> list[Path]:
    for share in SHARES:
        for prefix in ("mysql", "mariadb"):
            scripts = [share / f"{prefix}_{name}" for name in SCRIPTS]
            if all(script.is_file() for script in scripts):
                return scripts
    return []


def _write_init(home: Path, account: Account, password: str) -> None:
    """What is run at each start: one line is one statement."""
    init = home / "init.sql"
    init.touch(mode=0o600)
    lines = [
        f"create or replace user root@'{host}' identified by '{password}';\n"
        f"grant all privileges on *.* to root@'{host}' with grant option;\n"
        for host in ("127.0.0.1", "localhost")
    ]
    init.write_text("".join(lines))
    account.own(init)


def _write_certificates(
    home: Path, account: Account, certificates: Mapping[str, bytes] | None
) -> tuple[str, ...]:
    if not certificates:
        return ()
    for name, content in certificates.items():
        (home / name).write_bytes(content)
        (home / name).chmod(0o600 if name == "server.key" else 0o644)
        account.own(home / name)
    return (
        f"--ssl-ca={home / 'ca.crt'}",
        f"--ssl-cert={home / 'server.crt'}",
        f"--ssl-key={home / 'server.key'}",
    )
