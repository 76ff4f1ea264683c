"""Where the master key comes from: a file, made once and durable before anything depends on it.

It lies outside of the folders of data and backups, is readable by its owner only, and is never
passed in an environment or on a command line. An operator may name another file, or let systemd
give one (`LoadCredential=bulkhead-master-key:...`); such a file is read and never written.

After a rotation the former keys stay, because older backups of a keyring need them.

An operator whose keys are kept by a key management service or by the keyring of the system names a
command that prints them instead (`key_command.py`).
"""

from __future__ import annotations

import base64
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bulkhead.capabilities.vault.envelope import KEY_BYTES, MasterKey
from bulkhead.capabilities.vault.errors import MasterKeyUnusable, RotationRefused
from bulkhead.capabilities.vault.key_command import CommandKeys
from bulkhead.capabilities.vault.key_source import KeySource, parse_keys
from bulkhead.engine.private_file import ABSENT, Stamp, locked, stamp_of, write_private

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bulkhead.engine.settings import Settings

HEAD = "bulkhead master keys, newest first; whoever has this file can read every secret"


@dataclass(slots=True, eq=False)
class MasterKeys:
    """The keys in the file `path`, read again when somebody has changed it."""

    path: Path
    is_ours: bool = True
    """Whether this program makes and changes the file; otherwise an operator does."""
    _keys: tuple[MasterKey, ...] = ()
    _stamp: Stamp = field(default=ABSENT)

    @property
    def place(self) -> str:
        """The path."""
        return str(self.path)

    @property
    def keys(self) -> tuple[MasterKey, ...]:
        """The keys, newest first; none when there is no file. Raises MasterKeyUnusable."""
        stamp = stamp_of(self.path)
        if stamp != self._stamp or not self._keys:
            self._keys = self._load() if stamp != ABSENT else ()
            self._stamp = stamp
        return self._keys

    def find(self, key_id: bytes) -> MasterKey | None:
        """The key with this id; None when it is not in the file."""
        return next((key for key in self.keys if key.id == key_id), None)

    def ensure(self) -> MasterKey:
        """The newest key; made when there is none. Raises MasterKeyUnusable."""
        if not self.keys:
            self._refuse_foreign("there is none")
            with locked(self.path):
                if not self.keys:
                    self._write([MasterKey(secrets.token_bytes(KEY_BYTES))])
        return self.keys[0]

    def add(self, *keys: MasterKey) -> None:
        """Put keys below those that are there already; raises MasterKeyUnusable."""
        self._refuse_foreign("it is the operator's to change")
        with locked(self.path):
            here = self.keys
            self._write([*here, *(key for key in keys if key not in here)])

    def rotate(self) -> MasterKey:
        """A new key, on top; raises RotationRefused for a file that is not ours to change."""
        if not self.is_ours:
            raise RotationRefused(
                reason=f"put a new key, 32 random bytes in base64, on top of '{self.path}' first"
            )
        made = MasterKey(secrets.token_bytes(KEY_BYTES))
        with locked(self.path):
            self._write([made, *self.keys])
        return made

    def _refuse_foreign(self, reason: str) -> None:
        if not self.is_ours:
            raise MasterKeyUnusable(path=self.path, reason=reason)

    def _write(self, keys: Sequence[MasterKey]) -> None:
        lines = [f"# {HEAD}", *(base64.urlsafe_b64encode(key.value).decode() for key in keys)]
        write_private(self.path, "\n".join([*lines, ""]))

    def _load(self) -> tuple[MasterKey, ...]:
        try:
            content = self.path.read_bytes()
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise MasterKeyUnusable(path=self.path, reason=reason) from None
        return parse_keys(content, self.place)


def open_master_keys(settings: Settings) -> KeySource:
    """The master keys as `settings` have them; reads nothing yet."""
    if settings.master_key_command is not None:
        return CommandKeys(settings.master_key_command)
    if settings.master_key_file is not None:
        return MasterKeys(settings.master_key_file, is_ours=False)
    return MasterKeys(settings.home / "keys" / "master.key")
