"""What people call tenants, where an application has names for them."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from bulkhead.engine.fleet.model import TenantId


class TenantNames(Protocol):
    """The names of an application's tenants, such as the slugs of stores."""

    async def get(self, text: str) -> TenantId:
        """The tenant with this id or name; raises NotFound."""

    async def find(self, tenants: Sequence[TenantId]) -> Mapping[TenantId, str]:
        """The names of those that have one, also of those that are being deleted."""
