"""The vault of an application: seals and opens; implements the engine's `Sealer`.

Keys that are in use are kept in memory for `CACHE_S`: as long may a process go on sealing with a
key after another process has rotated it, and opening with one after it was destroyed.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bulkhead.capabilities.vault.envelope import (
    KEY_BYTES,
    SEALS_MAX,
    DataKey,
    MasterKey,
    key_id_of,
)
from bulkhead.capabilities.vault.errors import (
    MasterKeyMissing,
    MasterKeyWrong,
    RotationRefused,
    SecretDestroyed,
)
from bulkhead.capabilities.vault.key_source import KeySource
from bulkhead.capabilities.vault.master_keys import open_master_keys
from bulkhead.engine.application import MigrationFolder
from bulkhead.engine.clock import monotonic_s
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.connections.queries import load_queries
from bulkhead.engine.drivers.errors import SqlError
from bulkhead.engine.sealing import SealBroken, SealContext, SealedColumn

if TYPE_CHECKING:
    from bulkhead.engine.connections.database import OpenDatabase
    from bulkhead.engine.connections.transaction import Transaction
    from bulkhead.engine.settings import Settings

Q = load_queries(__package__)
CACHE_S: Final = 30.0
KEYS_CACHED_MAX: Final = 10_000
UNDEFINED_TABLE: Final = "42P01"
LOOKS_MAX: Final = 5
"""How often a key is looked for that others rotate at the same time."""
SEALS_BLOCK: Final = 256
"""How many seals a process takes of a key at once."""
FINGERPRINTS: Final = "fingerprint:"
"""What the tenants of keys for fingerprints begin with; those keys are never rotated."""


@dataclass(slots=True, eq=False)
class _Sealing:
    key: DataKey
    master: bytes
    left: int
    until_s: float


@dataclass(slots=True, eq=False)
class Vault:
    """Seals secrets with keys whose keyring is in `database`; made by `open_vault`.

    It reads keys in transactions of its own: seal and open while none is open.
    """

    database: OpenDatabase
    masters: KeySource
    columns: tuple[SealedColumn, ...] = ()
    """Where sealed values stand in `database`."""
    _opening: dict[int, tuple[DataKey, float]] = field(default_factory=dict)
    _sealing: dict[str, _Sealing] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The logical name of the database."""
        return f"{self.database.application}.{self.database.name}"

    async def unlock(self) -> None:
        """Check that the master key is the one that belongs to the keyring; call it at the start.

        A database that has none yet gets one, durable before anything is sealed with it; one that
        was not migrated yet has nothing to unlock. Raises MasterKeyMissing, MasterKeyWrong,
        MasterKeyUnusable.
        """
        try:
            rows = await self._list_masters()
        except SqlError as error:
            if error.sqlstate != UNDEFINED_TABLE:
                raise
            return
        for row in rows:
            if row["state"] == "current" or row["keys"]:
                self.master(row["id"], row["check_value"])

    async def seal(self, plain: bytes, context: SealContext) -> bytes:
        """Seal `plain` for the place `context`, with its tenant's key."""
        sealing = self._sealing.get(context.tenant)
        if sealing is None or not sealing.left or monotonic_s() >= sealing.until_s:
            sealing = await self._take_key(context.tenant)
        sealing.left -= 1
        return sealing.key.seal(plain, context, sealing.master)

    async def open(self, sealed: bytes, context: SealContext) -> bytes:
        """What was sealed for the place `context`; raises SealBroken, SecretDestroyed."""
        key_id = key_id_of(sealed, context)
        known = self._opening.get(key_id)
        if known is not None and monotonic_s() < known[1]:
            return known[0].open(sealed, context)
        async with self.database.transaction(SERVICE, read_only=True) as tx:
            row = await tx.fetchrow(Q.find_key, key_id)
        if row is None:
            raise SealBroken(place=context.place)
        if row["state"] == "destroyed":
            self.forget(row["tenant"])
            raise SecretDestroyed(place=context.place)
        return self._remember(row).open(sealed, context)

    async def fingerprint(self, plain: bytes, purpose: str) -> bytes:
        """16 bytes by which equal secrets of one purpose are found; show `last4` beside it."""
        tenant = FINGERPRINTS + purpose
        sealing = self._sealing.get(tenant) or await self._take_key(tenant)
        return sealing.key.fingerprint(plain, purpose)

    async def rotate_key(self, tenant: str) -> int:
        """Seal the tenant's secrets with a new key from now on; what is sealed stays readable.

        `reseal` then seals anew what the former key sealed. Raises RotationRefused.
        """
        if tenant.startswith(FINGERPRINTS):
            raise RotationRefused(reason="fingerprints that were stored would find nothing more")
        async with self.database.transaction(SERVICE) as tx:
            master = await self._current_master(tx)
            # Whoever waited for another rotation finds its key only when looking again.
            for _ in range(LOOKS_MAX):
                if await tx.fetchval(Q.demote_key, tenant) is not None:
                    break
            else:
                raise RotationRefused(reason=f"'{tenant}' has none")
            key_id = await self._add_key(tx, tenant, master)
        self.forget(tenant)
        return key_id

    async def shred(self, tenant: str) -> int:
        """Destroy every key of a tenant, and with them all that they sealed, wherever it is.

        Returns how many keys there were. Backups of the keyring have to be destroyed as well;
        backups of the data need not.
        """
        destroyed = 0
        async with self.database.transaction(SERVICE) as tx:
            # Until there are none: a rotation that had to end first has left a new one.
            while rows := await tx.fetch(Q.destroy_keys, tenant):
                destroyed += len(rows)
        self.forget(tenant)
        return destroyed

    def sealing_key(self, tenant: str) -> int | None:
        """Which key this process seals the tenant's secrets with at the moment."""
        sealing = self._sealing.get(tenant)
        return None if sealing is None else sealing.key.id

    def forget(self, tenant: str) -> None:
        """Take the tenant's keys out of memory."""
        self._sealing.pop(tenant, None)
        for key_id in [i for i, (key, _) in self._opening.items() if key.tenant == tenant]:
            del self._opening[key_id]

    def master(self, key_id: bytes, check: bytes | None = None) -> MasterKey:
        """The master key of this id; raises MasterKeyMissing, MasterKeyWrong, MasterKeyUnusable."""
        found = self.masters.find(key_id)
        place = {"database": self.name, "id": key_id.hex(), "path": self.masters.place}
        if found is None:
            raise MasterKeyMissing(**place)
        if check is not None and not secrets.compare_digest(found.check, check):
            raise MasterKeyWrong(**place)
        return found

    def unwrap(self, row: Any) -> DataKey:  # noqa: ANN401 - a record
        """The key in a row of the keyring; raises SealBroken, MasterKeyMissing."""
        master = self.master(row["master"])
        return master.unwrap(row["wrapped"], row["commitment"], row["id"], row["tenant"])

    async def _list_masters(self) -> Sequence[Any]:
        async with self.database.transaction(SERVICE) as tx:
            rows = await tx.fetch(Q.list_masters)
            if not rows:
                made = self.masters.ensure()
                await tx.execute(Q.add_first_master, made.id, made.check)
                rows = await tx.fetch(Q.list_masters)
            return rows

    async def _take_key(self, tenant: str) -> _Sealing:
        async with self.database.transaction(SERVICE) as tx:
            row = await tx.fetchrow(Q.take_seals, tenant, SEALS_BLOCK)
            if row is None:
                # Of several that make the first key of a tenant, one wins and all use its key.
                await self._add_key(tx, tenant, await self._current_master(tx))
                row = await tx.fetchrow(Q.take_seals, tenant, SEALS_BLOCK)
        assert row is not None, "a tenant has a key once one was added"
        if row["seals"] > SEALS_MAX and not tenant.startswith(FINGERPRINTS):
            await self.rotate_key(tenant)
            return await self._take_key(tenant)
        until_s = monotonic_s() + CACHE_S
        made = _Sealing(self._remember(row), bytes(row["master"]), SEALS_BLOCK, until_s)
        _put(self._sealing, tenant, made)
        return made

    async def _current_master(self, tx: Transaction) -> MasterKey:
        """The master key that seals new keys; a rotation waits until `tx` ends."""
        row = await find_current_master(tx, Q.share_current_master)
        return self.master(row["id"], row["check_value"])

    async def _add_key(self, tx: Transaction, tenant: str, master: MasterKey) -> int:
        key_id: int = await tx.fetchval(Q.next_key_id)
        key = DataKey(key_id, tenant, secrets.token_bytes(KEY_BYTES))
        await tx.fetchval(Q.add_key, key_id, tenant, master.id, master.wrap(key), key.commitment)
        return key_id

    def _remember(self, row: Any) -> DataKey:  # noqa: ANN401 - a record
        key = self.unwrap(row)
        _put(self._opening, key.id, (key, monotonic_s() + CACHE_S))
        return key


async def find_current_master(tx: Transaction, query: str) -> Any:  # noqa: ANN401 - a record
    """The master key that seals new keys, locked by `query`; the vault has to be unlocked.

    Whoever waits for a rotation to end finds the former one demoted, and the new one only when
    looking again.
    """
    for _ in range(LOOKS_MAX):
        if (row := await tx.fetchrow(query)) is not None:
            return row
    message = "unlock the vault before you seal or rotate anything"
    raise AssertionError(message)


def open_vault(
    database: OpenDatabase, settings: Settings, *, columns: tuple[SealedColumn, ...] = ()
) -> Vault:
    """The vault whose keyring is in `database`; `columns` are those with sealed values in it."""
    return Vault(database, open_master_keys(settings), columns)


def vault_migrations(database: str) -> MigrationFolder:
    """The migrations that an application declares for the database that holds its keyring."""
    return MigrationFolder("vault", database, Path(__file__).parent / "migrations")


def last4(secret: str) -> str:
    """What may be shown of a secret, so that its owner knows it again; nothing of a short one."""
    return secret[-4:] if len(secret) >= 16 else ""  # noqa: PLR2004


def _put(known: dict[Any, Any], key: object, value: object) -> None:
    known.pop(key, None)
    if len(known) >= KEYS_CACHED_MAX:
        del known[next(iter(known))]
    known[key] = value
