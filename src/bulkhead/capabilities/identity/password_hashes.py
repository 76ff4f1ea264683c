"""Hashes of passwords, ours and those that users bring along: which we take, and what they match.

bcrypt is what we make. bcrypt looks at 72 bytes and no more, so a longer password never matches
instead of being cut off. Argon2 (RFC 9106) is taken over as Supabase's Auth server takes it: in
the PHC string format, the variants i and id, version 19, and no more work than a thread should do.
"""

from __future__ import annotations

import base64
import binascii
import re

import bcrypt
from argon2.exceptions import Argon2Error
from argon2.low_level import Type, verify_secret

from bulkhead.engine.errors import Invalid

PASSWORD_BYTES_MAX = 72
COST_MIN = 4
COST_MAX = 14
"""A hash that came from elsewhere with a higher cost would keep a thread busy for seconds."""
ARGON2_MEMORY_KIB_MAX = 262_144
ARGON2_ROUNDS_MAX = 20
ARGON2_LANES_MAX = 16
ARGON2_HASH_BYTES_MIN = 16
ARGON2_SALT_BYTES_MIN = 8
HASH_LENGTH_MAX = 255

# The last character of the salt stands for two bits, and four that must be zero.
_BCRYPT = re.compile(
    r"\$2[aby]\$(?P<cost>\d\d)\$[./A-Za-z0-9]{21}[.Oeu][./A-Za-z0-9]{31}", re.ASCII
)
_ARGON2 = re.compile(
    r"\$argon2(?P<kind>id|i)\$v=19\$m=(?P<memory>\d{1,7}),t=(?P<rounds>\d{1,3}),p=(?P<lanes>\d{1,3})"
    r"\$(?P<salt>[A-Za-z0-9+/]+)\$(?P<hash>[A-Za-z0-9+/]+)",
    re.ASCII,
)


class PasswordHashInvalid(Invalid):
    """Passwords cannot be compared with this hash."""

    code = "password_hash_invalid"
    status = 400
    hint = "It must be one of bcrypt, or of Argon2 i or id, that takes no more work than usual."


def is_usable_hash(hashed: str | None) -> bool:
    """Whether a password can be compared with `hashed`, in reasonable time."""
    if not hashed or not hashed.isascii() or len(hashed) > HASH_LENGTH_MAX:
        return False
    return _is_argon2(hashed) if hashed.startswith("$argon2") else _is_bcrypt(hashed)


def matches(password: str, hashed: str) -> bool:
    """Whether `password` belongs to `hashed`, which is usable; takes a while."""
    if hashed.startswith("$argon2"):
        return _matches_argon2(password, hashed)
    secret = encode_password(password)
    return bcrypt.checkpw(secret or b"", hashed.encode("ascii")) and secret is not None


def encode_password(password: str) -> bytes | None:
    """The bytes that bcrypt hashes; None for what it would cut off."""
    try:
        secret = password.encode()
    except UnicodeEncodeError:
        return None
    return None if len(secret) > PASSWORD_BYTES_MAX or b"\0" in secret else secret


def _is_bcrypt(hashed: str) -> bool:
    found = _BCRYPT.fullmatch(hashed)
    return found is not None and COST_MIN <= int(found["cost"]) <= COST_MAX


def _is_argon2(hashed: str) -> bool:
    found = _ARGON2.fullmatch(hashed)
    if found is None:
        return False
    memory, rounds, lanes = (int(found[name]) for name in ("memory", "rounds", "lanes"))
    return (
        1 <= lanes <= ARGON2_LANES_MAX
        and 1 <= rounds <= ARGON2_ROUNDS_MAX
        and 8 * lanes <= memory <= ARGON2_MEMORY_KIB_MAX  # the least that Argon2 takes
        and _length(found["salt"]) >= ARGON2_SALT_BYTES_MIN
        and _length(found["hash"]) >= ARGON2_HASH_BYTES_MIN
    )


def _matches_argon2(password: str, hashed: str) -> bool:
    kind = Type.ID if hashed.startswith("$argon2id$") else Type.I
    try:
        return verify_secret(hashed.encode("ascii"), password.encode(), kind)
    except (Argon2Error, UnicodeEncodeError):
        return False


def _length(text: str) -> int:
    """How many bytes an unpadded base64 text stands for; 0 where it is none."""
    try:
        return len(base64.b64decode(text + "=" * (-len(text) % 4), validate=True))
    except binascii.Error:
        return 0
