"""Whose database it is: a tenant's database says so itself, in its table `_identity`.

A registry that was restored, a name that was given twice, a pooler that leads elsewhere: none of
them may show one tenant the data of another.
"""

from collections.abc import Sequence
from uuid import UUID

from bulkhead.engine.errors import BulkheadError


class IdentityMismatch(BulkheadError):
    """The database reached for tenant {tenant} is not that tenant's: {reason}."""

    code = "identity_mismatch"
    status = 503
    hint = "Nothing was read or written. Check where the tenant is placed: bulkhead tenant show."


def verify_names(tenant: UUID, found: Sequence[object]) -> None:
    """Raise IdentityMismatch unless `found`, read from `_identity`, is `tenant` alone."""
    if len(found) != 1:
        reason = "its table _identity is empty" if not found else "it names several tenants"
        raise IdentityMismatch(tenant=tenant, reason=reason)
    try:
        name = UUID(str(found[0]))
    except ValueError:
        name = None
    if name != tenant:
        raise IdentityMismatch(tenant=tenant, reason="it belongs to another tenant")
