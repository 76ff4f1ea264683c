"""What the engine needs of whoever keeps its secrets: to seal bytes for one place, and open them.

The engine stores passwords of servers that others run. It never sees a key: it is given a `Sealer`
by whoever puts the process together.
"""

from dataclasses import dataclass
from typing import Protocol

from bulkhead.engine.errors import BulkheadError


class SealBroken(BulkheadError):
    """A secret of {place} cannot be opened: it was changed, moved, or sealed with another key."""

    code = "seal_broken"
    hint = "Check that the master key is the right one, then set the secret anew."


@dataclass(frozen=True, slots=True)
class SealContext:
    """Where a sealed value stands; it opens nowhere else."""

    database: str
    """The logical database, for example `store_platform.master`."""
    table: str
    """With its schema: `bulkhead.fleet_tenants`."""
    column: str
    key: str
    """The primary key of the row."""
    tenant: str
    """Whose secret it is: its own key protects it, and destroying that key destroys it."""

    @property
    def place(self) -> str:
        """For messages: the column and the row."""
        return f"{self.table}.{self.column} of {self.key}"


@dataclass(frozen=True, slots=True)
class SealedColumn:
    """A column of sealed values, so that they can be sealed anew when a key is rotated.

    Names are those of the database, unquoted. The context of a value is that of its row: `key` and
    `tenant` are columns of it, and the tenant's name begins with `tenant_prefix`.
    """

    table: str
    """With its schema: `bulkhead.fleet_tenants`."""
    column: str
    key: str = "id"
    key_type: str = "uuid"
    tenant: str = "id"
    tenant_prefix: str = ""


class Sealer(Protocol):
    """Seals bytes so that nobody reads, changes or moves them unnoticed."""

    async def seal(self, plain: bytes, context: SealContext) -> bytes:
        """Seal `plain` for the place `context`."""

    async def open(self, sealed: bytes, context: SealContext) -> bytes:
        """What was sealed for the place `context`; raises SealBroken."""

    def forget(self, tenant: str) -> None:
        """Know the tenant's keys no more: another process may have destroyed them."""


class Vault(Sealer, Protocol):
    """A sealer that must be unlocked before it is used."""

    async def unlock(self) -> None:
        """Check that the keys belong to the data; raises what keeps the process from starting."""
