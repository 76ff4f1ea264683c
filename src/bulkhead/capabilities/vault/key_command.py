"""Master keys that a command prints: of a key management service, a password manager, a keyring.

`aws kms decrypt ...`, `vault kv get -field=keys ...`, `secret-tool lookup ...`: whatever prints
keys as `key_source.py` reads them. The command is run without a shell, once; again only when a
database names a key that it did not print, which is how running processes learn of a rotation.
"""

from __future__ import annotations

import math
import shlex
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bulkhead.capabilities.vault.errors import MasterKeyUnusable, RotationRefused
from bulkhead.capabilities.vault.key_source import parse_keys
from bulkhead.engine.clock import monotonic_s

if TYPE_CHECKING:
    from pathlib import Path

    from bulkhead.capabilities.vault.envelope import MasterKey

TIMEOUT_S: Final = 30.0
OUTPUT_BYTES_MAX: Final = 65_536
AGAIN_S: Final = 30.0
"""As long a key that the command does not know is not asked for again."""


@dataclass(slots=True, eq=False)
class CommandKeys:
    """The keys that `command` prints; implements `KeySource`. They are kept in memory only."""

    command: str
    timeout_s: float = TIMEOUT_S
    _keys: tuple[MasterKey, ...] = ()
    _asked_at_s: float = -math.inf

    @property
    def place(self) -> str:
        """The program; its arguments may be secret."""
        return f"the output of {self._words()[0]}"

    @property
    def path(self) -> Path | None:
        """There is no file."""
        return None

    @property
    def is_ours(self) -> bool:
        """They are an operator's."""
        return False

    @property
    def keys(self) -> tuple[MasterKey, ...]:
        """The keys, newest first, at least one; raises MasterKeyUnusable."""
        if not self._keys:
            self._ask()
        return self._keys

    def find(self, key_id: bytes) -> MasterKey | None:
        """The key with this id; None when the command does not print it.

        The process waits meanwhile, `timeout_s` at most. Raises MasterKeyUnusable.
        """
        found = next((key for key in self.keys if key.id == key_id), None)
        if found is None and monotonic_s() - self._asked_at_s >= AGAIN_S:
            self._ask()
            found = next((key for key in self._keys if key.id == key_id), None)
        return found

    def ensure(self) -> MasterKey:
        """The newest key; raises MasterKeyUnusable."""
        return self.keys[0]

    def add(self, *keys: MasterKey) -> None:
        """Refuse: raises MasterKeyUnusable."""
        reason = f"{len(keys)} keys are to be added where its operator keeps them"
        raise MasterKeyUnusable(path=self.place, reason=reason)

    def rotate(self) -> MasterKey:
        """Refuse: raises RotationRefused."""
        reason = f"{self.place} must begin with a new key first: 32 random bytes in base64"
        raise RotationRefused(reason=reason)

    def _ask(self) -> None:
        self._asked_at_s = monotonic_s()
        try:
            done = subprocess.run(  # noqa: S603 - the operator's own command
                self._words(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                timeout=self.timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise self._unusable(f"nothing came within {self.timeout_s:g} s") from None
        except OSError as error:
            raise self._unusable(error.strerror or type(error).__name__) from None
        if done.returncode:
            raise self._unusable(f"it ended with status {done.returncode}")
        if len(done.stdout) > OUTPUT_BYTES_MAX:
            raise self._unusable("it is too long")
        self._keys = parse_keys(done.stdout, self.place)

    def _unusable(self, reason: str) -> MasterKeyUnusable:
        return MasterKeyUnusable(path=self.place, reason=reason)

    def _words(self) -> list[str]:
        try:
            words = shlex.split(self.command)
        except ValueError:
            words = []
        if not words:
            reason = "it is no command; check its quotes"
            raise MasterKeyUnusable(path="BULKHEAD_MASTER_KEY_COMMAND", reason=reason)
        return words
