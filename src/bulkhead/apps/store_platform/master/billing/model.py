"""Plans: what they cost and what they allow."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from types import MappingProxyType
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from bulkhead.engine.errors import BulkheadError, Conflict

TRIAL_DAYS: Final = 14
CURRENCY: Final = "USD"
CHARGES_MAX: Final = 4
"""How often an invoice is tried; after that the subscription expires."""


class PlanName(StrEnum):
    """What a store can pay for."""

    FREE = "free"
    STARTER = "starter"
    PROFESSIONAL = "professional"
    ENTERPRISE = "enterprise"


@dataclass(frozen=True, slots=True)
class Plan:
    """Prices, and limits of which None is no limit."""

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


PLANS: Final = MappingProxyType(
    {
        plan.name: plan
        for plan in (
            Plan(PlanName.FREE, Decimal(0), Decimal(0), 100, 50, 1, 10_000),
            Plan(PlanName.STARTER, Decimal(29), Decimal(290), 1_000, 1_000, 10, 100_000),
            Plan(PlanName.PROFESSIONAL, Decimal(99), Decimal(990), 20_000, 20_000, 100, 2_000_000),
            Plan(PlanName.ENTERPRISE, Decimal(499), Decimal(4990), None, None, None, None),
        )
    }
)


class SubscribeBody(BaseModel):
    """Which plan a store shall have."""

    model_config = ConfigDict(extra="forbid")
    plan: PlanName
    billing_cycle: Literal["monthly", "annual"] = "monthly"
    payment_source: str | None = Field(default=None, min_length=1, max_length=255)
    """What the payment company calls the card; none starts the trial of a plan that costs."""


class PaymentSourceMissing(BulkheadError):
    """The plan '{plan}' costs, and its trial was used before."""

    code = "payment_source_missing"
    status = 402
    hint = "Send payment_source, the token of a card."


class SubscriptionMissing(Conflict):
    """The store has no subscription that could be cancelled."""

    code = "subscription_missing"


def period_end(start: dt.datetime, cycle: str) -> dt.datetime:
    """When a period ends that begins at `start`: the same day of a later month, or its last."""
    months = 12 if cycle == "annual" else 1
    year, month = divmod(start.month - 1 + months, 12)
    year, month = start.year + year, month + 1
    following = dt.date(year + month // 12, month % 12 + 1, 1)
    days = (following - dt.date(year, month, 1)).days
    return start.replace(year=year, month=month, day=min(start.day, days))


def retry_after(attempts: int) -> dt.timedelta:
    """How long a declined invoice waits for its next attempt."""
    return dt.timedelta(days=min(2**attempts, 7))
