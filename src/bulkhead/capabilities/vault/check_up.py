"""What a check-up finds out about secrets; changes nothing."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING, Final

from bulkhead.capabilities.vault.errors import SecretDestroyed
from bulkhead.capabilities.vault.rotation import BATCH, context_of, list_sealed
from bulkhead.capabilities.vault.vault import Q
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.errors import BulkheadError
from bulkhead.engine.monitoring.findings import Finding, Level

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bulkhead.capabilities.vault.vault import Vault
    from bulkhead.engine.sealing import SealedColumn

DATA_MARKS: Final = ("PG_VERSION", "ibdata1")
"""What lies in a folder of data."""
BROKEN_SHOWN: Final = 5


async def check_vault(vault: Vault) -> list[Finding]:
    """Check the master key, its file, and that every key of the keyring opens."""
    findings = [*check_file(vault)]
    try:
        await vault.unlock()
        broken = await _broken_keys(vault)
        async with vault.database.transaction(SERVICE, read_only=True) as tx:
            counts = {row["state"]: row["keys"] for row in await tx.fetch(Q.count_keys)}
            masters = await tx.fetch(Q.list_masters)
    except BulkheadError as error:
        return [
            *findings,
            Finding(Level.ERROR, error.code, vault.name, error.message, error.advice),
        ]
    waiting = sum(row["keys"] for row in masters if row["state"] != "current")
    if waiting:
        detail = f"{waiting} keys are still under a former master key"
        remedy = "Finish the rotation: bulkhead secret rotate --finish"
        findings.append(Finding(Level.WARNING, "rotation_unfinished", vault.name, detail, remedy))
    if broken:
        detail = f"{len(broken)} keys do not open, first that of {broken[0]}"
        findings.append(Finding(Level.ERROR, "key_broken", vault.name, detail, _REMEDY))
    else:
        detail = ", ".join(f"{number} {state}" for state, number in sorted(counts.items()))
        findings.append(Finding(Level.OK, "keyring_opens", vault.name, f"keys: {detail or 'none'}"))
    return findings


async def check_values(vault: Vault) -> list[Finding]:
    """Open every sealed value: one finding for each sealed column."""
    findings = []
    for column in vault.columns:
        number, broken, destroyed = await _open_all(vault, column)
        where = f"{column.table}.{column.column}"
        if broken:
            first = ", ".join(broken[:BROKEN_SHOWN])
            detail = f"{len(broken)} of {number} values do not open: {first}"
            findings.append(Finding(Level.ERROR, "seal_broken", where, detail, _REMEDY))
        else:
            detail = f"{number - destroyed} values open"
            if destroyed:
                detail += f", {destroyed} were destroyed with their keys"
            findings.append(Finding(Level.OK, "seals_open", where, detail))
    return findings


_REMEDY = "Set these secrets anew, or restore the rows; somebody or something has changed them."


def check_file(vault: Vault) -> Iterator[Finding]:
    """Whether others can read the master key, or take it away together with the data."""
    path = vault.masters.path
    if path is None:
        return
    try:
        mode = path.stat().st_mode
    except OSError:
        return
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        remedy = f"chmod 600 {path}"
        yield Finding(Level.ERROR, "key_file_open", str(path), "others can read it", remedy)
    if any((folder / name).exists() for folder in path.resolve().parents for name in DATA_MARKS):
        detail = "the master key lies in a folder of data: whoever gets one gets both"
        yield Finding(Level.ERROR, "key_beside_data", str(path), detail, _APART)
    elif _is_in_home(vault, path):
        detail = "a copy of the whole home holds the data and the master key"
        yield Finding(Level.INFO, "key_in_home", str(path), detail, _APART)


_APART = (
    "Keep it elsewhere and name it with BULKHEAD_MASTER_KEY_FILE; see bulkhead secret export-key."
)


def _is_in_home(vault: Vault, path: Path) -> bool:
    return vault.masters.is_ours and (path.parent.parent / "data").is_dir()


async def _broken_keys(vault: Vault) -> list[str]:
    broken: list[str] = []
    after = 0
    while True:
        async with vault.database.transaction(SERVICE, read_only=True) as tx:
            rows = await tx.fetch(Q.page_keys, after, BATCH)
        for row in rows:
            try:
                vault.unwrap(row)
            except BulkheadError:
                broken.append(row["tenant"])
        if len(rows) < BATCH:
            return broken
        after = rows[-1]["id"]


async def _open_all(vault: Vault, column: SealedColumn) -> tuple[int, list[str], int]:
    """How many values there are, which of them are broken, and how many destroyed on purpose."""
    number, destroyed, broken, after = 0, 0, [], None
    while True:
        async with vault.database.transaction(SERVICE, read_only=True) as tx:
            rows = await list_sealed(tx, column, after=after)
        for row in rows:
            try:
                await vault.open(row["sealed"], context_of(vault, column, row))
            except SecretDestroyed:
                destroyed += 1
            except BulkheadError:
                broken.append(row["key"])
        number += len(rows)
        if not rows:
            return number, broken, destroyed
        after = rows[-1]["key"]
