"""An application with secrets, and what a test does with them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bulkhead.capabilities.vault import Vault, open_vault, vault_migrations
from bulkhead.engine.application import Application
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.ids import new_id
from bulkhead.engine.sealing import SealContext, SealedColumn
from bulkhead.engine.system import System
from bulkhead.engine.topology import Database, Table, Topology

PASSWORDS = SealedColumn("public.accounts", "sealed_password", tenant="tenant")


def open_safe(system: System) -> Vault:
    return open_vault(system.database("master"), system.settings, columns=(PASSWORDS,))


SAFE = Application(
    name="safe",
    title="The Safe",
    topology=Topology(
        "safe",
        (Database("master", (Table("accounts"),), Path(__file__).parent / "migrations"),),
    ),
    migrations=(vault_migrations("master"),),
    vault=open_safe,
)


def place(row: object, tenant: str) -> SealContext:
    return SealContext("safe.master", PASSWORDS.table, PASSWORDS.column, str(row), tenant)


@dataclass(slots=True)
class Safe:
    """A vault and the accounts whose passwords it seals."""

    system: System
    vault: Vault

    @property
    def key_file(self) -> Path:
        """The file with the master key."""
        assert self.vault.masters.path is not None, "no command"
        return self.vault.masters.path

    def again(self) -> Vault:
        """The vault as the next process opens it: it has seen nothing yet."""
        return open_safe(self.system)

    async def put(self, tenant: str, password: str, *, vault: Vault | None = None) -> str:
        row = str(new_id())
        sealed = await (vault or self.vault).seal(password.encode(), place(row, tenant))
        await self.sql("insert into accounts values ($1, $2, $3)", row, tenant, sealed)
        return row

    async def get(self, row: str, *, vault: Vault | None = None) -> str:
        [found] = await self.sql("select tenant, sealed_password from accounts where id = $1", row)
        context = place(row, found["tenant"])
        return (await (vault or self.vault).open(found["sealed_password"], context)).decode()

    async def sql(self, text: str, *args: object) -> Any:
        async with self.system.database("master").transaction(SERVICE) as tx:
            return await tx.fetch(text, *args)
