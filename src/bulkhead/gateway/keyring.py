"""The file that says which generations of an application's API keys are valid.

It is there once a key was rotated. Other processes, such as the command line, may change it at any
time: the view of a process is at most RELOAD_S old, and no request fails because of a rotation.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bulkhead.engine.clock import monotonic_s
from bulkhead.engine.drivers.secret import Secret
from bulkhead.engine.errors import ConfigurationInvalid
from bulkhead.engine.private_file import ABSENT, Stamp, locked, stamp_of, write_private
from bulkhead.engine.settings import Settings
from bulkhead.gateway.keys import DatabaseKeys, KeyKind, KeyNotRevocable, Series, derive_keys

RELOAD_S = 1.0
"""How long another process may go on accepting a key after it was revoked."""
FORMAT = 1

Generations = Mapping[str, Mapping[KeyKind, Series]]
"""By database; what is not there was never rotated."""


class ApiKeysInvalid(ConfigurationInvalid):
    """The file of API keys {path} is not valid: {reason}."""

    code = "api_keys_invalid"
    hint = "Put the file back from a copy; without it, keys that were revoked are valid again."


@dataclass(slots=True, eq=False)
class ApiKeyRing:
    """The API keys of one application."""

    application: str
    path: Path
    secret: Secret
    _generations: Generations = field(default_factory=dict)
    _stamp: Stamp | None = None
    _fresh_until_s: float = 0.0
    _derived: dict[str, DatabaseKeys] = field(default_factory=dict)

    def keys(self, database: str) -> DatabaseKeys:
        """Its keys; the same object as long as they have not changed. Raises ApiKeysInvalid."""
        if monotonic_s() >= self._fresh_until_s:
            self._refresh()
        found = self._derived.get(database)
        if found is None:
            series = self._generations.get(database, {})
            found = derive_keys(self.secret, self.application, database, series)
            self._derived[database] = found
        return found

    def rotate(self, database: str, kind: KeyKind) -> DatabaseKeys:
        """Make a new key current; the former one stays valid until it is revoked."""
        with locked(self.path):
            series = self._load().get(database, {}).get(kind, Series())
            self._write(database, kind, series.rotated())
        return self.keys(database)

    def revoke(self, database: str, kind: KeyKind, number: int) -> DatabaseKeys:
        """Refuse what comes with the previous key `number`; raises KeyNotRevocable."""
        with locked(self.path):
            series = self._load().get(database, {}).get(kind, Series())
            try:
                left = series.revoked(number)
            except ValueError as error:
                raise KeyNotRevocable(
                    kind=kind.value, number=number, database=database, reason=error
                ) from None
            self._write(database, kind, left)
        return self.keys(database)

    def _refresh(self) -> None:
        stamp = stamp_of(self.path)
        if stamp != self._stamp:
            self._remember(self._load(), stamp)
        self._fresh_until_s = monotonic_s() + RELOAD_S

    def _remember(self, generations: Generations, stamp: Stamp) -> None:
        changed = {
            name
            for name in self._derived
            if generations.get(name, {}) != self._generations.get(name, {})
        }
        for name in changed:
            del self._derived[name]
        self._generations, self._stamp = generations, stamp

    def _load(self) -> Generations:
        if self.path.exists():
            return load_generations(self.path)
        if self._stamp not in (None, ABSENT):
            raise ApiKeysInvalid(path=self.path, reason="it was there before and is gone")
        return {}

    def _write(self, database: str, kind: KeyKind, series: Series) -> None:
        generations = self._load()
        changed = {
            **generations,
            database: {**generations.get(database, {}), kind: series},
        }
        write_private(self.path, render_generations(changed))
        self._remember(changed, stamp_of(self.path))


def open_keyring(application: str, settings: Settings) -> ApiKeyRing:
    """The keys of `application`, whose file is `keys/<application>.api.json` of the home."""
    secret_path = settings.home / "secret.key"
    settings.home.mkdir(parents=True, exist_ok=True)
    secret = Secret.load(secret_path) or Secret.create(secret_path)
    return ApiKeyRing(application, settings.home / "keys" / f"{application}.api.json", secret)


def load_generations(path: Path) -> Generations:
    """Load the file; raises ApiKeysInvalid."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        return {
            database: {KeyKind(kind): _parse_series(series) for kind, series in kinds.items()}
            for database, kinds in document["databases"].items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ApiKeysInvalid(path=path, reason=f"{type(error).__name__}: {error}") from None


def render_generations(generations: Generations) -> str:
    """The text of the file."""
    databases = {
        database: {
            kind.value: {"current": series.current, "previous": list(series.previous)}
            for kind, series in kinds.items()
        }
        for database, kinds in generations.items()
    }
    return json.dumps({"format": FORMAT, "databases": databases}, indent=2)


def _parse_series(document: Mapping[str, Any]) -> Series:
    series = Series(document["current"], tuple(document["previous"]))
    if any(type(number) is not int for number in series.valid):
        message = "generations are numbers"
        raise ValueError(message)
    return series
