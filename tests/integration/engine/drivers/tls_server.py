"""A PostgreSQL with OpenSSL from the system; the embedded one has none."""

import datetime as dt
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from quiet_port import quiet_port

from bulkhead.engine.drivers.embedded_install import choose_account


@dataclass(frozen=True, slots=True)
class TlsServer:
    """A PostgreSQL of the system that accepts nothing but TLS, for the name `localhost`."""

    port: int
    ca_file: Path
    password: str

    def dsn(self, host: str = "localhost", **query: str) -> str:
        options = "&".join(f"{key}={value}" for key, value in query.items())
        return f"postgresql://postgres:{self.password}@{host}:{self.port}/postgres?{options}"


def find_programs() -> Path | None:
    """The newest `postgres` of the system."""
    return max(Path("/usr/lib/postgresql").glob("*/bin/postgres"), default=None)


@contextmanager
def run_tls_server(postgres: Path, home: Path) -> Iterator[TlsServer]:
    """Run one in the new folder `home`."""
    home.mkdir(mode=0o755)
    account = choose_account(home / "data", home)
    account.own(home)
    password = secrets.token_urlsafe()
    (home / "password").write_text(password)
    account.own(home / "password")
    _initdb(postgres, home, account.spawn)
    for name, content in make_certificates("localhost").items():
        (home / name).write_bytes(content)
        (home / name).chmod(0o600 if name == "server.key" else 0o644)
        account.own(home / name)
    port = quiet_port()
    hba = home / "data" / "pg_hba.conf"
    hba.write_text("hostssl all all 127.0.0.1/32 scram-sha-256\nlocal all all scram-sha-256\n")
    settings = {
        "port": port,
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": home,
        "ssl": "on",
        "ssl_cert_file": home / "server.crt",
        "ssl_key_file": home / "server.key",
        "fsync": "off",
        "logging_collector": "off",
    }
    with (home / "data" / "postgresql.conf").open("a") as file:
        file.writelines(f"{name} = '{value}'\n" for name, value in settings.items())
    control: list[str | Path] = [
        postgres.with_name("pg_ctl"),
        "-w",
        "-D",
        home / "data",
        "-l",
        home / "log",
    ]
    subprocess.run([*control, "start"], check=True, capture_output=True, **account.spawn)
    yield TlsServer(port, home / "ca.crt", password)
    subprocess.run([*control, "stop"], check=True, capture_output=True, **account.spawn)


def _initdb(postgres: Path, home: Path, spawn: dict[str, Any]) -> None:
    subprocess.run(
        [
            postgres.with_name("initdb"),
            f"--pgdata={home / 'data'}",
            "--username=postgres",
            f"--pwfile={home / 'password'}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--no-sync",
        ],
        check=True,
        capture_output=True,
        **spawn,
    )


def make_certificates(host: str) -> dict[str, bytes]:
    """A certificate authority of our own, and a server's certificate that it signed."""
    ca_key, server_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test CA")])
    ca = _certificate(ca_name, ca_name, ca_key, ca_key, None)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    server = _certificate(subject, ca_name, server_key, ca_key, host)
    return {
        "ca.crt": ca.public_bytes(serialization.Encoding.PEM),
        "server.crt": server.public_bytes(serialization.Encoding.PEM),
        "server.key": server_key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    }


def _certificate(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    signer: ec.EllipticCurvePrivateKey,
    host: str | None,
) -> x509.Certificate:
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(dt.datetime(2000, 1, 1, tzinfo=dt.UTC))
        .not_valid_after(dt.datetime(2100, 1, 1, tzinfo=dt.UTC))
        .add_extension(x509.BasicConstraints(ca=host is None, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
    )
    if host is not None:
        names = [x509.DNSName(host)]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(signer, hashes.SHA256())
