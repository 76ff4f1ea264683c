"""A PgBouncer of its own for tests and benchmarks: no service, no root, gone afterwards.

It runs in a new folder under an unprivileged account, listens on a free port of the loopback, leads
to every database of one PostgreSQL server and asks that server for the logins (`auth_query`), which
sign in by SCRAM on both sides. With certificates it takes TLS and nothing else.
"""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from quiet_port import quiet_port

from bulkhead.engine.drivers.embedded_install import Account, choose_account
from bulkhead.engine.drivers.endpoint import Endpoint

ABSENT = "no PgBouncer on this machine; as root: tools/install_servers.sh"
PROGRAM = "PGBOUNCER"
"""The variable that names the program, where another one than the system's is to be tried."""
SEARCH = "/usr/sbin:/usr/local/sbin:/usr/local/bin:/usr/bin:/opt/homebrew/bin"
START_TIMEOUT_S = 60.0
POLL_S = 0.01
SETTINGS: Mapping[str, object] = {
    "listen_addr": "127.0.0.1",
    "unix_socket_dir": "",
    "auth_type": "scram-sha-256",
    "pool_mode": "transaction",
    "max_client_conn": 500,
    "default_pool_size": 20,
    "log_connections": 0,
    "log_disconnections": 0,
    "stats_period": 3600,
}


class PgbouncerFailed(Exception):
    """The pooler did not start."""


@dataclass(slots=True)
class PgbouncerServer:
    """A pooler in the folder `home` in front of `upstream`, whose superuser administers it too."""

    home: Path
    program: Path
    account: Account
    port: int
    upstream: Endpoint
    ca_file: Path | None
    settings: dict[str, object]
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def endpoint(self, database: str = "postgres") -> Endpoint:
        """Where it listens, as the superuser; the database `pgbouncer` is its console."""
        upstream = self.upstream
        host = "localhost" if self.ca_file else "127.0.0.1"
        return Endpoint(
            host, self.port, upstream.user, upstream.password, database, ca_file=self.ca_file
        )

    @property
    def dsn(self) -> str:
        """The superuser's DSN of the maintenance database, through the pooler."""
        endpoint = self.endpoint()
        return endpoint.url(endpoint.administrator())

    @property
    def version(self) -> tuple[int, ...]:
        """For example (1, 25, 2)."""
        told = subprocess.run(  # noqa: S603
            [self.program, "--version"], capture_output=True, text=True, check=True
        )
        return tuple(int(part) for part in told.stdout.split()[1].split("."))

    def start(self) -> None:
        """Start it and wait until it takes connections; raises PgbouncerFailed."""
        self._configure()
        with (self.home / "log").open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603
                [self.program, self.home / "pgbouncer.ini"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.home,
                **self.account.spawn,
            )
        self._wait()

    def stop(self) -> None:
        """Kill it: every connection through it is gone at once."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def restart(self, **settings: object) -> None:
        """Kill it and start it again on the same port, with other `settings`."""
        self.stop()
        self.settings |= settings
        self.start()

    def pause(self) -> None:
        """Let it hang: connections are accepted, and nothing is answered."""
        assert self._process is not None, "a pooler that was started"
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """End `pause`."""
        assert self._process is not None, "a pooler that was started"
        self._process.send_signal(signal.SIGCONT)

    def log(self) -> str:
        """What it has written."""
        return (self.home / "log").read_text(errors="replace")

    def _configure(self) -> None:
        upstream = self.upstream
        settings = {
            **SETTINGS,
            "listen_port": self.port,
            "auth_file": self.home / "users",
            "auth_user": upstream.user,
            "admin_users": upstream.user,
            **self.settings,
        }
        lines = [
            "[databases]",
            f"* = host={upstream.host} port={upstream.port}",
            "[pgbouncer]",
            *(f"{name} = {value}" for name, value in settings.items()),
        ]
        self._write("pgbouncer.ini", "\n".join(lines))
        password = upstream.password.replace('"', '""')
        self._write("users", f'"{upstream.user}" "{password}"\n')

    def _write(self, name: str, text: str) -> None:
        path = self.home / name
        path.touch(mode=0o600)
        path.write_text(text)
        self.account.own(path)

    def _wait(self) -> None:
        assert self._process is not None, "started just now"
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline_s and self._process.poll() is None:
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=1) as client:
                    client.shutdown(socket.SHUT_WR)
                    client.recv(1)  # It has noticed that this one is gone again.
            except OSError:
                time.sleep(POLL_S)
            else:
                return
        self.stop()
        message = f"PgBouncer did not start:\n{self.log()[-2000:]}"
        raise PgbouncerFailed(message)


def find_pgbouncer() -> Path | None:
    """The program, if it is installed."""
    found = (
        os.environ.get(PROGRAM)  # noqa: TID251 - tools are no part of the program
        or shutil.which("pgbouncer")
        or shutil.which("pgbouncer", path=SEARCH)
    )
    return Path(found) if found else None


@contextmanager
def run_pgbouncer(
    home: Path,
    upstream: Endpoint,
    certificates: Mapping[str, bytes] | None = None,
    **settings: object,
) -> Iterator[PgbouncerServer]:
    """Run one in the new folder `home`, whose parents every account may pass through.

    `upstream` is a superuser's endpoint; `certificates` are the contents of ca.crt, server.crt and
    server.key; `settings` are those of pgbouncer.ini. Raises PgbouncerFailed.
    """
    program = find_pgbouncer()
    assert program is not None, ABSENT
    home.mkdir(mode=0o755)
    account = choose_account(home / "data", home)
    account.own(home)
    (home / "log").touch()
    account.own(home / "log")
    settings = {**_write_certificates(home, account, certificates), **settings}
    ca_file = home / "ca.crt" if certificates else None
    server = PgbouncerServer(home, program, account, quiet_port(), upstream, ca_file, settings)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def _write_certificates(
    home: Path, account: Account, certificates: Mapping[str, bytes] | None
) -> dict[str, object]:
    if not certificates:
        return {}
    for name, content in certificates.items():
        (home / name).write_bytes(content)
        (home / name).chmod(0o600 if name == "server.key" else 0o644)
        account.own(home / name)
    return {
        "client_tls_sslmode": "require",
        "client_tls_cert_file": home / "server.crt",
        "client_tls_key_file": home / "server.key",
    }
