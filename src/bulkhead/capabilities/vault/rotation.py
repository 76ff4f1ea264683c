"""Rotation: of the master key, which touches the keyring only, and of what tenants' keys sealed.

Both go on where they were interrupted, and neither stops anybody: until all is done, values and
keys of both generations open.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from bulkhead.capabilities.vault.envelope import HEADER, MasterKey
from bulkhead.capabilities.vault.vault import CACHE_S, Q, find_current_master
from bulkhead.engine import failpoints
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.connections.sql import identifier
from bulkhead.engine.sealing import SealBroken, SealContext, SealedColumn

if TYPE_CHECKING:
    from bulkhead.capabilities.vault.vault import Vault
    from bulkhead.engine.connections.transaction import Transaction

BATCH: Final = 200
SETTLED_S: Final = 2 * CACHE_S
"""So long after its rotation no process seals with a key any more."""
TENANTS_ONE_BY_ONE_MAX: Final = 20
"""The secrets of more tenants than that are all gone through at once."""
REWRAPPED = failpoints.register("vault.rewrapped")
RESEALED = failpoints.register("vault.resealed")

Row = Any  # A record.


async def rotate_master(vault: Vault) -> MasterKey:
    """Put every key under a new master key; no secret is touched.

    Running processes read the new key from the file when they meet its id. Raises RotationRefused
    when an operator's file has no new key on top, MasterKeyMissing.
    """
    await finish_rotation(vault)
    async with vault.database.transaction(SERVICE) as tx:
        row = await find_current_master(tx, Q.lock_current_master)
        newest = vault.masters.ensure()
        if newest.id == bytes(row["id"]):
            # In the file, and durable, before the keyring knows of it.
            newest = vault.masters.rotate()
        await tx.execute(Q.demote_master)
        await tx.execute(Q.add_master, newest.id, newest.check)
    await finish_rotation(vault)
    return newest


async def finish_rotation(vault: Vault) -> int:
    """Put what a former master key still seals under the current one; returns how many keys."""
    done = 0
    while True:
        async with vault.database.transaction(SERVICE) as tx:
            row = await find_current_master(tx, Q.share_current_master)
            master = vault.master(row["id"], row["check_value"])
            rows = await tx.fetch(Q.lock_keys_of_other_masters, master.id, BATCH)
            if not rows:
                await tx.execute(Q.retire_masters)
                return done
            wrapped = [master.wrap(vault.unwrap(row)) for row in rows]
            await tx.execute(Q.rewrap_keys, master.id, [row["id"] for row in rows], wrapped)
        done += len(rows)
        await failpoints.reach(REWRAPPED)


async def reseal(vault: Vault, *, tenant: str | None = None) -> int:
    """Seal anew what a former key sealed, of one tenant or of all; returns how many values.

    Goes through the sealed columns by their keys, so that it goes on where it was interrupted. A
    value that changes meanwhile is left as it is. Repeat it after `CACHE_S`, for what processes
    have sealed with a former key that they still knew. A value that does not open is left, too;
    `check_values` finds it.
    """
    done = 0
    for column in vault.columns:
        after: str | None = None
        while True:
            async with vault.database.transaction(SERVICE) as tx:
                rows = await list_sealed(tx, column, after=after, tenant=tenant)
            if not rows:
                break
            done += await _reseal_batch(vault, column, rows)
            after = rows[-1]["key"]
            await failpoints.reach(RESEALED)
    return done


async def tend_rotation(vault: Vault, *, settled_s: float = SETTLED_S) -> int:
    """Go on with what a rotation has left to do, whoever began it; how many keys and values.

    For a job: it asks two small questions where there is nothing to do. What former keys sealed is
    sealed anew once they were rotated `settled_s` ago, so that no process seals with them any more.
    """
    done = await finish_rotation(vault)
    while True:
        async with vault.database.transaction(SERVICE, read_only=True) as tx:
            rows = await tx.fetch(Q.list_emptying, settled_s, BATCH)
        if not rows:
            return done
        tenants = {row["tenant"] for row in rows}
        if len(tenants) > TENANTS_ONE_BY_ONE_MAX:
            done += await reseal(vault)
        else:
            for tenant in sorted(tenants):
                done += await reseal(vault, tenant=tenant)
        async with vault.database.transaction(SERVICE) as tx:
            await tx.execute(Q.note_emptied, [row["id"] for row in rows])


async def list_sealed(
    tx: Transaction, column: SealedColumn, *, after: str | None = None, tenant: str | None = None
) -> Sequence[Row]:
    """The next rows of a sealed column in the order of its key: `key`, `tenant`, `sealed`."""
    key, value = identifier(column.key), identifier(column.column)
    owner = f"{identifier(column.tenant)}::text"
    return await tx.fetch(
        f"select {key}::text as key, $3::text || {owner} as tenant, {value} as sealed"  # noqa: S608 - identifiers are quoted
        f" from {_table(column)}"
        f" where {value} is not null"
        f" and ($1::text is null or {key} > $1::text::{identifier(column.key_type)})"
        f" and ($2::text is null or $3::text || {owner} = $2::text)"
        f" order by {key} limit {BATCH}",
        after,
        tenant,
        column.tenant_prefix,
    )


def context_of(vault: Vault, column: SealedColumn, row: Row) -> SealContext:
    """Where the value of a row from `list_sealed` stands."""
    return SealContext(vault.name, column.table, column.column, row["key"], row["tenant"])


async def _reseal_batch(vault: Vault, column: SealedColumn, rows: Sequence[Row]) -> int:
    async with vault.database.transaction(SERVICE, read_only=True) as tx:
        found = await tx.fetch(Q.list_current_keys, list({row["tenant"] for row in rows}))
    current = {row["tenant"]: row["id"] for row in found}
    changed: list[tuple[str, bytes, bytes]] = []
    for row in rows:
        sealed: bytes = row["sealed"]
        if _key_id(sealed) == current.get(row["tenant"], _key_id(sealed)):
            continue
        context = context_of(vault, column, row)
        try:
            plain = await vault.open(sealed, context)
        except SealBroken:
            continue
        if vault.sealing_key(row["tenant"]) != current[row["tenant"]]:
            vault.forget(row["tenant"])
        changed.append((row["key"], sealed, await vault.seal(plain, context)))
    if not changed:
        return 0
    keys, before, after = zip(*changed, strict=True)
    value = identifier(column.column)
    async with vault.database.transaction(SERVICE) as tx:
        status = await tx.execute(
            f"update {_table(column)} t set {value} = n.after"  # noqa: S608 - identifiers are quoted
            " from unnest($1::text[], $2::bytea[], $3::bytea[]) as n (key, before, after)"
            f" where t.{identifier(column.key)} = n.key::{identifier(column.key_type)}"
            f" and t.{value} = n.before",
            list(keys),
            list(before),
            list(after),
        )
    return int(status.rpartition(" ")[2])


def _key_id(sealed: bytes) -> int:
    return int(HEADER.unpack_from(sealed)[2]) if len(sealed) >= HEADER.size else 0


def _table(column: SealedColumn) -> str:
    schema, _, table = column.table.rpartition(".")
    return f"{identifier(schema)}.{identifier(table)}"
