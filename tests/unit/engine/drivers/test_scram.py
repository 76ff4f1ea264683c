import base64
import hashlib
import hmac

import pytest

from bulkhead.engine.drivers.scram import ITERATIONS_OF_KEYS, scram_verifier
from bulkhead.engine.drivers.secret import Secret

# The exchange of RFC 7677, section 3.
SALT = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
MESSAGE = (
    b"n=user,r=rOprNGfwEbeRWgbNEkqO,"
    b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,"
    b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
)
PROOF = base64.b64decode("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
SERVER_SIGNATURE = base64.b64decode("6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")


def keys(verifier: str) -> tuple[bytes, bytes]:
    stored, _, server = verifier.rpartition("$")[2].partition(":")
    return base64.b64decode(stored), base64.b64decode(server)


def test_the_verifier_accepts_the_proof_of_the_standard() -> None:
    verifier = scram_verifier("pencil", salt=SALT)
    assert verifier.startswith("SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$")
    stored_key, server_key = keys(verifier)
    signature = hmac.digest(stored_key, MESSAGE, "sha256")
    client_key = bytes(a ^ b for a, b in zip(PROOF, signature, strict=True))
    assert hashlib.sha256(client_key).digest() == stored_key
    assert hmac.digest(server_key, MESSAGE, "sha256") == SERVER_SIGNATURE


def test_the_same_password_never_gives_the_same_verifier() -> None:
    assert scram_verifier("pencil") != scram_verifier("pencil")


@pytest.mark.parametrize("password", ["", "pässword", "tab\t", "line\nbreak", "nul\0"])
def test_a_password_that_would_need_preparation_is_refused(password: str) -> None:
    with pytest.raises(ValueError, match="printable ASCII"):
        scram_verifier(password)


def test_passwords_that_are_stretched_least_have_256_bits() -> None:
    password = Secret(bytes(range(32))).password("shop_service")
    assert len(base64.urlsafe_b64decode(password + "=")) == 32
    verifier = scram_verifier(password, iterations=ITERATIONS_OF_KEYS)
    assert verifier.startswith("SCRAM-SHA-256$1:")
