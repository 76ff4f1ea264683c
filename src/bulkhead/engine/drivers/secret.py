"""The one secret of an installation, from which the password of every role follows.

Nothing else has to be stored, shared or rotated one by one, and the secret is neither in an
environment nor on a command line, where other processes could read it.
"""

import base64
import hashlib
import hmac
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from bulkhead.engine.errors import BulkheadError

SECRET_BYTES = 32


class SecretUnusable(BulkheadError):
    """The secret key in '{path}' cannot be used: {reason}."""

    code = "secret_unusable"
    hint = "Put back the secret.key that belongs to this data, for example from your backup."


@dataclass(frozen=True, slots=True)
class SecretText:
    """Text that shows up neither in a representation nor in a log."""

    value: str = field(repr=False)

    def __str__(self) -> str:
        return "••••"

    def reveal(self) -> str:
        """The text itself, for the one place that needs it."""
        return self.value


@dataclass(frozen=True, slots=True)
class Secret:
    """Random bytes that never leave this process."""

    value: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.value) < SECRET_BYTES:
            message = f"a secret has at least {SECRET_BYTES} bytes"
            raise ValueError(message)

    @classmethod
    def load(cls, path: Path) -> Self | None:
        """Read the secret of `path`, None when there is none; raises SecretUnusable."""
        try:
            value = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise SecretUnusable(path=str(path), reason=error.strerror) from error
        if len(value) != SECRET_BYTES:
            raise SecretUnusable(
                path=str(path), reason=f"it has {len(value)} bytes instead of {SECRET_BYTES}"
            )
        return cls(value)

    @classmethod
    def create(cls, path: Path) -> Self:
        """Make a secret and store it in `path`, durable before anything depends on it."""
        value = secrets.token_bytes(SECRET_BYTES)
        draft = path.with_name(f".{path.name}.new")
        draft.unlink(missing_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(value)
            file.flush()
            os.fsync(file.fileno())
        draft.rename(path)
        sync_directory(path.parent)
        return cls(value)

    def password(self, role: str) -> str:
        """The password of `role`: HMAC-SHA256 as 43 characters of base64url."""
        digest = hmac.new(self.value, f"role:{role}".encode(), hashlib.sha256).digest()
        return base64.urlsafe_b64encode(digest).decode().rstrip("=")

    def derive(self, purpose: str) -> bytes:
        """32 bytes that are the same for the same `purpose`, and tell nothing about others."""
        return hmac.new(self.value, f"derived:{purpose}".encode(), hashlib.sha256).digest()

    @property
    def fingerprint(self) -> str:
        """16 characters that tell installations apart and say nothing about the secret."""
        return hmac.new(self.value, b"fingerprint", hashlib.sha256).hexdigest()[:16]


def sync_directory(path: Path) -> None:
    """Make the names in the directory `path` durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
