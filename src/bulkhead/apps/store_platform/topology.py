"""The topology of the store platform: its master database, and who may do what there.

The databases of the stores are not in it: they are tenants of a fleet, made and moved while the
platform runs, and their schema stands in `store/schema.py`.
"""

from pathlib import Path

from bulkhead.engine.topology import (
    Access,
    ApiExposure,
    Database,
    SecurityLevel,
    Table,
    Topology,
)

HERE = Path(__file__).parent

READ = Access.of(owner="select", staff="select")
STAFF_READ = Access.of(staff="select")
BY_STORE = "store_id>stores.owner_id"

SETTING = frozenset({"value", "description"})

MASTER = Database(
    "master",
    (
        Table(
            "users",
            Access.of(owner="select update", staff="select"),
            owner="id",
            update_columns=frozenset({"full_name", "company", "locale"}),
        ),
        Table("stores", READ, owner="owner_id"),
        Table(
            "platform_settings",
            Access.of(staff="all"),
            key=("name",),
            insert_columns=SETTING | {"name"},
            update_columns=SETTING,
        ),
        Table("subscriptions", READ, owner=BY_STORE),
        Table("billing_transactions", READ, owner=BY_STORE),
        Table("usage_counters", READ, owner=BY_STORE, key=("store_id", "metric", "period_start")),
        Table("usage_holds"),
        Table("usage_metrics", READ, owner=BY_STORE),
        Table("api_usage_logs", READ, owner=BY_STORE, key=("id", "created_at")),
        Table("integration_configs", READ, owner=BY_STORE),
        Table("integration_secrets", key=("integration_id",)),
        Table("audit_logs", STAFF_READ),
        Table("store_analytics", READ, owner=BY_STORE, key=("store_id", "day", "currency")),
        Table("rollup_states", key=("store_id",)),
        Table("usage_statistics", STAFF_READ, key=("day",)),
        Table("revenue_reports", STAFF_READ, key=("month", "plan_name", "currency")),
        Table("performance_metrics", READ, owner=BY_STORE, key=("store_id", "day")),
    ),
    HERE / "master" / "migrations",
    security=SecurityLevel.HIGH,
    api=ApiExposure(variable="MASTER"),
)

TOPOLOGY = Topology(application="store_platform", databases=(MASTER,))
