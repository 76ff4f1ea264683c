"""The file with an application's signing keys, and the process's view of it.

Other processes, such as the command line, may change it at any time: the view is at most RELOAD_S
old.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bulkhead.capabilities.identity.errors import KeysInvalid
from bulkhead.capabilities.identity.tokens.keys import (
    Key,
    KeySet,
    KeyState,
    create_key,
    create_key_set,
    parse_foreign_key,
    parse_key,
)
from bulkhead.engine.clock import monotonic_s, now
from bulkhead.engine.private_file import ABSENT, Stamp, locked, stamp_of, write_private

RELOAD_S = 1.0
"""How long another process may go on accepting a key after it was revoked."""
FORMAT = 1


@dataclass(slots=True, eq=False)
class KeyRing:
    """The keys in the file `path`; made when there are none."""

    path: Path
    _keys: KeySet | None = None
    _stamp: Stamp = ABSENT
    _fresh_until_s: float = 0.0

    @property
    def keys(self) -> KeySet:
        """The keys; the same object as long as they have not changed. Raises KeysInvalid."""
        if self._keys is None or monotonic_s() >= self._fresh_until_s:
            self._refresh()
        assert self._keys is not None, "a refresh loads keys or raises"
        return self._keys

    def find(self, kid: str) -> Key | None:
        """The key that verifies tokens with this `kid`; None for unknown and revoked ones.

        Another process may have rotated twice since we looked: for a key that is not known here,
        the file is looked at again.
        """
        if all(kid != key.kid for key in self.keys.keys):
            self._refresh()
        return self.keys.find(kid)

    def rotate(self) -> KeySet:
        """Sign with the standby key from now on; tokens of the former key stay valid."""
        return self._change(lambda keys: keys.rotated(create_key(KeyState.STANDBY, now())))

    def revoke(self, kid: str) -> KeySet:
        """Refuse every token signed with `kid`; raises KeyNotRevocable."""
        return self._change(lambda keys: keys.revoked(kid))

    def import_key(self, text: str, state: KeyState = KeyState.STANDBY) -> KeySet:
        """Take over a private key, PEM or JWK, ES256 or RS256; raises KeyNotImportable.

        On standby it signs after the next rotation; as a previous key it only verifies.
        """
        key = parse_foreign_key(text, state, now())
        return self._change(lambda keys: keys.imported(key))

    def _change(self, change: Callable[[KeySet], KeySet]) -> KeySet:
        with locked(self.path):
            keys = change(self._load_or_create())
            _write(self.path, keys)
            self._remember(keys)
        return keys

    def _refresh(self) -> None:
        stamp = stamp_of(self.path)
        if self._keys is None or stamp != self._stamp:
            with locked(self.path):
                self._remember(self._load_or_create())
        self._fresh_until_s = monotonic_s() + RELOAD_S

    def _load_or_create(self) -> KeySet:
        if self.path.exists():
            return load_keys(self.path)
        if self._keys is not None:
            raise KeysInvalid(path=self.path, reason="it was there before and is gone")
        keys = create_key_set(now())
        _write(self.path, keys)
        return keys

    def _remember(self, keys: KeySet) -> None:
        self._keys = keys
        self._stamp = stamp_of(self.path)
        self._fresh_until_s = monotonic_s() + RELOAD_S


def load_keys(path: Path) -> KeySet:
    """Load the keys of `path`; raises KeysInvalid."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        return KeySet(tuple(parse_key(key) for key in document["keys"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        # The reason must not quote the file, which is a secret.
        raise KeysInvalid(path=path, reason=type(error).__name__) from None


def _write(path: Path, keys: KeySet) -> None:
    document = {"format": FORMAT, "keys": [key.to_json() for key in keys.keys]}
    write_private(path, json.dumps(document, indent=2))
