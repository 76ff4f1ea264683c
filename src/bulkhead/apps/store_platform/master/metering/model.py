"""What is counted of a store, and what happens when its plan allows no more."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Final
from uuid import UUID

from bulkhead.engine.errors import BulkheadError, Conflict

EVER: Final = dt.date(1970, 1, 1)
"""The period of what a store has at once, such as products."""
BYTES_PER_GB: Final = 10**9
READS: Final = frozenset({"GET", "HEAD"})
NOT_READY: Final = frozenset({"none", "provisioning", "failed", "deleted"})
"""States of a store's database in which nothing can be asked of it."""


class Metric(StrEnum):
    """What a plan limits."""

    PRODUCTS = "products"
    ORDERS = "orders"
    STORAGE_BYTES = "storage_bytes"
    API_CALLS = "api_calls"

    @property
    def is_monthly(self) -> bool:
        """Whether it begins anew each month, in UTC."""
        return self in {Metric.ORDERS, Metric.API_CALLS}


class PlanLimitReached(BulkheadError):
    """The plan '{plan}' allows {limit} {metric}, and no more are left."""

    code = "plan_limit_reached"
    status = 402
    hint = "Choose a larger plan, or wait for the next month where the limit is monthly."


class SubscriptionExpired(BulkheadError):
    """The subscription of the store has expired: it can be read, and not written."""

    code = "subscription_expired"
    status = 402
    hint = "Subscribe to a plan: POST /store_platform/stores/<id>/subscription"


class StoreInactive(BulkheadError):
    """The store is switched off."""

    code = "store_inactive"
    status = 403
    hint = "Set is_active to true."


class StoreClosed(BulkheadError):
    """The store is being deleted."""

    code = "store_closed"
    status = 410
    hint = "Until its database is dropped, take it back: POST /store_platform/stores/<id>/restore"


class StoreNotReady(Conflict):
    """The database of the store is not there: it is '{status}'."""

    code = "store_not_ready"
    hint = "Give it one with POST /store_platform/provision, or wait until that is done."


@dataclass(frozen=True, slots=True)
class Hold:
    """What is taken from a limit before it is written in the store's database."""

    id: UUID
    store: UUID
    metric: Metric
    amount: int
    """Below zero for what is being deleted."""
    subject: UUID
    """The row in the store's database: while it is there, a hold above zero is settled, and one
    below zero released."""
    value: Decimal = Decimal(0)
    """Of an order, its total."""
    checked_at: dt.datetime | None = None
    """When a sweep took it up; None for whoever makes it."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What there is in a store's database."""

    products: int
    orders: int
    storage_bytes: int


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a store's API, before it is carried out."""

    id: UUID
    store: UUID
    caller: UUID | None
    """Who signed in; the call of anybody but the owner counts nowhere."""
    is_staff: bool
    endpoint: str
    method: str
    ip_address: str | None
    user_agent: str | None


@dataclass(frozen=True, slots=True)
class Admitted:
    """A call that was counted."""

    call: Call
    at: dt.datetime
    owner: UUID
    database_status: str
    currency: str
    is_active: bool
    is_expired: bool

    def verify_served(self, method: str) -> None:
        """Raise StoreClosed, StoreInactive, StoreNotReady, SubscriptionExpired unless it is."""
        if self.database_status == "deleting":
            raise StoreClosed
        if not self.is_active:
            raise StoreInactive
        if self.database_status in NOT_READY:
            raise StoreNotReady(status=self.database_status)
        if self.is_expired and method not in READS:
            raise SubscriptionExpired


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a call ended."""

    call: Admitted
    status: int
    ms: int
    error: str | None
