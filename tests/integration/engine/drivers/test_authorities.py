"""Authorities are read once, and again when their file has changed."""

import ssl
from pathlib import Path

import pytest
from tests.integration.engine.drivers.tls_server import make_certificates

from bulkhead.engine.authorities import client_context


def test_connections_share_a_context() -> None:
    assert client_context() is client_context()
    assert client_context() is not client_context(names_verified=False)


def test_the_authorities_of_a_server_are_believed_by_nobody_else(tmp_path: Path) -> None:
    file = tmp_path / "ca.crt"
    file.write_bytes(make_certificates("db.example")["ca.crt"])
    own = client_context(ca_file=file)
    assert own is client_context(ca_file=file)
    assert len(own.get_ca_certs()) == 1
    assert own.get_ca_certs()[0] not in client_context().get_ca_certs()
    text = client_context(ca_pem=file.read_text())
    assert text.get_ca_certs() == own.get_ca_certs()


def test_a_file_that_has_changed_is_read_anew(tmp_path: Path) -> None:
    file = tmp_path / "ca.crt"
    file.write_bytes(make_certificates("db.example")["ca.crt"])
    before = client_context(ca_file=file).get_ca_certs()
    other = tmp_path / "other.crt"
    other.write_bytes(make_certificates("db.example")["ca.crt"])
    other.replace(file)
    assert client_context(ca_file=file).get_ca_certs() != before


def test_what_holds_no_certificates_is_refused_each_time(tmp_path: Path) -> None:
    file = tmp_path / "ca.crt"
    for _ in range(2):
        with pytest.raises(FileNotFoundError):
            client_context(ca_file=file)
    file.write_text("nothing")
    for _ in range(2):
        with pytest.raises(ssl.SSLError):
            client_context(ca_file=file)
        with pytest.raises(ssl.SSLError):
            client_context(ca_pem="nothing")


@pytest.mark.parametrize(
    ("verified", "names_verified", "mode", "checks_name"),
    [
        (True, True, ssl.CERT_REQUIRED, True),
        (True, False, ssl.CERT_REQUIRED, False),
        (False, True, ssl.CERT_NONE, False),
    ],
)
def test_what_is_verified_is_what_was_asked_for(
    verified: bool, names_verified: bool, mode: ssl.VerifyMode, checks_name: bool
) -> None:
    context = client_context(verified=verified, names_verified=names_verified)
    assert (context.verify_mode, context.check_hostname) == (mode, checks_name)
