"""Master keys on their way to a safe place: wrapped by a passphrase that a person remembers.

Sources: scrypt as in RFC 7914, with the cost that OWASP's cheat sheet on password storage names.
"""

from __future__ import annotations

import base64
import json
import os
from typing import TYPE_CHECKING, Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from bulkhead.capabilities.vault.envelope import KEY_BYTES, NONCE_BYTES, MasterKey, join
from bulkhead.capabilities.vault.errors import ExportUnusable
from bulkhead.engine.errors import Invalid
from bulkhead.engine.private_file import locked, write_private

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

FORMAT: Final = "bulkhead master keys 1"
COST: Final = 2**17
"""128 MiB and a third of a second for each guess."""
BLOCK: Final = 8
SALT_BYTES: Final = 16
PASSPHRASE_CHARACTERS_MIN: Final = 12


def export_keys(path: Path, keys: Sequence[MasterKey], passphrase: str) -> None:
    """Write `keys` to the new file `path`; raises Invalid for a short passphrase or an old file."""
    if len(passphrase) < PASSPHRASE_CHARACTERS_MIN:
        raise Invalid(reason=f"a passphrase has at least {PASSPHRASE_CHARACTERS_MIN} characters")
    salt, nonce = os.urandom(SALT_BYTES), os.urandom(NONCE_BYTES)
    plain = b"".join(key.value for key in keys)
    wrapped = AESGCM(_derive(passphrase, salt)).encrypt(nonce, plain, _bound(salt))
    document = {
        "format": FORMAT,
        "scrypt": {"n": COST, "r": BLOCK, "p": 1, "salt": _text(salt)},
        "nonce": _text(nonce),
        "wrapped": _text(wrapped),
    }
    with locked(path):
        if path.exists():
            raise Invalid(reason=f"there is a file '{path}' already")
        write_private(path, json.dumps(document, indent=2))


def import_keys(path: Path, passphrase: str) -> tuple[MasterKey, ...]:
    """The keys in an export, newest first; raises ExportUnusable."""
    try:
        document: Any = json.loads(path.read_text(encoding="utf-8"))
        if document["format"] != FORMAT:
            raise ExportUnusable(path=path, reason="it has another format")
        salt = base64.b64decode(document["scrypt"]["salt"], validate=True)
        nonce = base64.b64decode(document["nonce"], validate=True)
        wrapped = base64.b64decode(document["wrapped"], validate=True)
        plain = AESGCM(_derive(passphrase, salt)).decrypt(nonce, wrapped, _bound(salt))
    except InvalidTag:
        raise ExportUnusable(path=path, reason="the passphrase is another one") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ExportUnusable(path=path, reason=type(error).__name__) from None
    return tuple(MasterKey(plain[at : at + KEY_BYTES]) for at in range(0, len(plain), KEY_BYTES))


def _derive(passphrase: str, salt: bytes) -> bytes:
    return Scrypt(salt, KEY_BYTES, COST, BLOCK, 1).derive(passphrase.encode())


def _bound(salt: bytes) -> bytes:
    return join(FORMAT.encode(), COST.to_bytes(8, "big"), BLOCK.to_bytes(8, "big"), salt)


def _text(value: bytes) -> str:
    return base64.b64encode(value).decode()
