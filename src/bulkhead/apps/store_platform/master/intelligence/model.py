"""What is known of a day of a store."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from decimal import Decimal

from bulkhead.apps.store_platform.master.billing.model import PlanName
from bulkhead.http.described import Described


@dataclass(frozen=True, slots=True)
class DayOfSales:
    """What a store sold on a day of UTC, in one currency."""

    day: dt.date
    currency: str
    orders: int
    cancelled: int
    items: int
    revenue: Decimal
    customers: int


class Used(Described):
    """How much of a limit is used; null is no limit."""

    used: int
    limit: int | None


class UsedOfPlan(Described):
    """How much a store uses of each limit."""

    products: Used
    orders: Used
    storage_bytes: Used
    api_calls: Used
    stores_of_owner: Used


class DayOfUsage(Described):
    """What a store used on a day of UTC."""

    metric_date: dt.date
    products_created: int
    products_updated: int
    products_deleted: int
    total_products: int
    orders_created: int
    orders_total_value: Decimal
    storage_uploaded_bytes: int
    storage_deleted_bytes: int
    storage_total_bytes: int
    api_calls: int
    api_errors: int


class Usage(Described):
    """How much of its limits a store uses now, and what it used on each day, the newest first."""

    usage: UsedOfPlan
    days: list[DayOfUsage]


class DayOfAnalytics(Described):
    """What a store sold on a day of UTC, in one currency."""

    day: dt.date
    currency: str
    orders: int
    orders_cancelled: int
    items_sold: int
    revenue: Decimal
    average_order_value: Decimal
    customers: int
    rolled_up_at: dt.datetime


class DayOfPerformance(Described):
    """How fast the API of a store answered on a day of UTC, in milliseconds."""

    day: dt.date
    calls: int
    errors: int
    p50_ms: int
    p95_ms: int
    p99_ms: int


class Analytics(Described):
    """What a store sold on each day, and how fast its API answered, the newest first."""

    days: list[DayOfAnalytics]
    performance: list[DayOfPerformance]


class MonthOfRevenue(Described):
    """What the platform invoiced in a month of UTC for one plan, and what came of it."""

    month: dt.date
    plan_name: PlanName
    currency: str
    invoices: int
    invoiced: Decimal
    collected: Decimal
    failed: Decimal
    refunded: Decimal


class Revenue(Described):
    """What the platform invoiced, the newest first."""

    months: list[MonthOfRevenue]


class DayOfStatistics(Described):
    """What all stores used on a day of UTC."""

    day: dt.date
    stores_active: int
    products_created: int
    products_deleted: int
    orders_created: int
    storage_uploaded_bytes: int
    api_calls: int
    api_errors: int


class Statistics(Described):
    """What all stores used, the newest first."""

    days: list[DayOfStatistics]
