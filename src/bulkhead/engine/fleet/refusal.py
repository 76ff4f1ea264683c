"""Why a tenant is not served: what its state says to whoever asks for its database."""

from bulkhead.engine.drivers.errors import DatabaseMissing, LoginRefused, TlsRequired
from bulkhead.engine.drivers.identity import IdentityMismatch
from bulkhead.engine.errors import BulkheadError, Forbidden, Unavailable
from bulkhead.engine.fleet.model import TenantRow, TenantState

SERVED = frozenset({TenantState.ACTIVE})
REFUSALS = (LoginRefused, DatabaseMissing, TlsRequired, IdentityMismatch)
"""Errors after which a tenant may be found somewhere else, or under another password."""
CLOSED = frozenset({TenantState.SUSPENDED, TenantState.MOVING, TenantState.DELETING})
"""States in which no connection is kept."""


class PoolRetired(Unavailable):
    """The place of tenant '{tenant}' has just changed."""

    code = "pool_retired"


class TenantSuspended(Forbidden):
    """Tenant {tenant} is suspended: {reason}."""

    code = "tenant_suspended"
    hint = "Nothing is lost. Resume it: bulkhead tenant resume {tenant}."


class TenantMoving(Unavailable):
    """Tenant {tenant} is being moved to another server."""

    code = "tenant_moving"
    hint = "It takes moments. Repeat the request."


class TenantNotReady(Unavailable):
    """Tenant {tenant} is still being provisioned."""

    code = "tenant_not_ready"
    retry_after_s = 2
    hint = "Follow its progress: bulkhead provision watch."


class TenantDeleted(BulkheadError):
    """Tenant {tenant} was deleted."""

    code = "tenant_deleted"
    status = 410
    hint = "Until its time of grace is over it can be restored: bulkhead tenant restore {tenant}."


def refusal(row: TenantRow) -> BulkheadError:
    """Why a tenant in the state of `row` is not served."""
    match row.state:
        case TenantState.SUSPENDED:
            return TenantSuspended(tenant=row.id, reason=row.reason or "its owner wished so")
        case TenantState.MOVING:
            return TenantMoving(tenant=row.id)
        case TenantState.DELETING:
            return TenantDeleted(tenant=row.id)
    return TenantNotReady(tenant=row.id)
