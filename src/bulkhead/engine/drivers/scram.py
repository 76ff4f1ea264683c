"""Password verifiers computed here, so that a plain password never stands in an SQL statement.

A statement may end up in a log or in `pg_stat_statements`, utility statements even verbatim.
Sources: RFC 5802 and RFC 7677; the stored form is PostgreSQL's (`src/common/scram-common.c`).
"""

import base64
import hashlib
import hmac
import secrets

ITERATIONS = 4096
"""For passwords that people choose; RFC 7677 asks for as many."""
ITERATIONS_OF_KEYS = 1
"""For passwords of 256 random bits, which nobody can guess however fast a guess is. A client runs
the iterations each time that it connects, which is a third of what connecting takes. Not for logins
that are connected to with the checks of `foreign`, which insist on the standard's number."""
SALT_BYTES = 16


def scram_verifier(
    password: str, *, salt: bytes | None = None, iterations: int = ITERATIONS
) -> str:
    """Render what PostgreSQL stores for `password` under SCRAM-SHA-256.

    `password` must be printable ASCII, for which SASLprep changes nothing; raises ValueError.
    """
    if not (password and password.isascii() and password.isprintable()):
        message = "a password must be printable ASCII"
        raise ValueError(message)
    salt = secrets.token_bytes(SALT_BYTES) if salt is None else salt
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations)
    stored_key = hashlib.sha256(_hmac(salted, b"Client Key")).digest()
    server_key = _hmac(salted, b"Server Key")
    return f"SCRAM-SHA-256${iterations}:{_base64(salt)}${_base64(stored_key)}:{_base64(server_key)}"


def _hmac(key: bytes, message: bytes) -> bytes:
    return hmac.new(key, message, hashlib.sha256).digest()


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode()
