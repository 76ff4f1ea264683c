"""Plans: what they cost and what they allow."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from types import MappingProxyType
from typing import Final, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from bulkhead.engine.errors import BulkheadError, Conflict
from bulkhead.http.described import Described

TRIAL_DAYS: Final = 14
CURRENCY: Final = "USD"
CHARGES_MAX: Final = 4
"""How often an invoice is tried; after that the subscription expires."""

Cycle = Literal["monthly", "annual"]
SubscriptionStatus = Literal["active", "trial", "cancelled", "expired"]


class PlanName(StrEnum):
    """What a store can pay for."""

    FREE = "free"
    STARTER = "starter"
    PROFESSIONAL = "professional"
    ENTERPRISE = "enterprise"


@dataclass(frozen=True, slots=True)
class Plan:
    """Prices in US dollars, and limits of which null is no limit."""

    name: PlanName
    price_monthly: Decimal
    price_annual: Decimal
    max_products: int | None
    max_orders_per_month: int | None
    max_storage_gb: int | None
    max_api_calls_per_month: int | None

    @property
    def is_free(self) -> bool:
        """Whether nothing is ever charged."""
        return self.price_monthly == 0


def _usd(dollars: int) -> Decimal:
    """Whole dollars, with the two decimals that every amount is shown with."""
    return Decimal(dollars).quantize(Decimal("0.01"))


PLANS: Final = MappingProxyType(
    {
        plan.name: plan
        for plan in (
            Plan(PlanName.FREE, _usd(0), _usd(0), 100, 50, 1, 10_000),
            Plan(PlanName.STARTER, _usd(29), _usd(290), 1_000, 1_000, 10, 100_000),
            Plan(PlanName.PROFESSIONAL, _usd(99), _usd(990), 20_000, 20_000, 100, 2_000_000),
            Plan(PlanName.ENTERPRISE, _usd(499), _usd(4990), None, None, None, None),
        )
    }
)


class SubscribeBody(BaseModel):
    """Which plan a store shall have."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)
    plan: PlanName
    billing_cycle: Cycle = "monthly"
    payment_source: str | None = Field(default=None, min_length=1, max_length=255)
    """What the payment company calls the card; none starts the trial of a plan that costs."""


class Plans(Described):
    """The plans there are, the smallest first."""

    plans: list[Plan]


class Subscription(Described):
    """What a store pays for; prices and limits are those of the day on which it began."""

    id: UUID
    store_id: UUID
    plan_name: PlanName
    status: SubscriptionStatus
    currency: str
    price_monthly: Decimal
    price_annual: Decimal
    billing_cycle: Cycle
    max_products: int | None
    max_orders_per_month: int | None
    max_storage_gb: int | None
    max_api_calls_per_month: int | None
    started_at: dt.datetime
    trial_ends_at: dt.datetime | None
    current_period_start: dt.datetime
    current_period_end: dt.datetime | None
    cancelled_at: dt.datetime | None


class Invoice(Described):
    """What was charged for a period, and how often that was tried."""

    id: UUID
    invoice_number: int
    amount: Decimal
    currency: str
    status: Literal["pending", "completed", "failed", "refunded"]
    payment_method: str | None
    payment_provider_id: str | None
    description: str
    invoice_url: str | None
    period_start: dt.datetime
    period_end: dt.datetime
    attempts: int
    failure_code: str | None
    processed_at: dt.datetime | None
    created_at: dt.datetime


class Invoices(Described):
    """What was charged, the newest first."""

    invoices: list[Invoice]


class PaymentSourceMissing(BulkheadError):
    """The plan '{plan}' costs, and its trial was used before."""

    code = "payment_source_missing"
    status = 402
    hint = "Send payment_source, the token of a card."


class SubscriptionMissing(Conflict):
    """The store has no subscription that could be cancelled."""

    code = "subscription_missing"


def period_end(start: dt.datetime, cycle: str, *, day: int | None = None) -> dt.datetime:
    """When a period ends that begins at `start`: the same day of a later month, or its last.

    `day` is that of the first period, so that after a short month it is the day of before again.
    """
    months = 12 if cycle == "annual" else 1
    year, month = divmod(start.month - 1 + months, 12)
    year, month = start.year + year, month + 1
    following = dt.date(year + month // 12, month % 12 + 1, 1)
    days = (following - dt.date(year, month, 1)).days
    return start.replace(year=year, month=month, day=min(day or start.day, days))


def retry_after(attempts: int) -> dt.timedelta:
    """How long a declined invoice waits for its next attempt."""
    return dt.timedelta(days=min(2**attempts, 7))
