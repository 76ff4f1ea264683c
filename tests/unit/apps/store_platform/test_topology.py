"""The master has what the seed says, and nobody writes in it past the platform."""

import pytest

from bulkhead.apps.store_platform.topology import MASTER
from bulkhead.engine.topology import Actor, Table, Verb

SEED = (
    "stores users subscriptions billing_transactions usage_metrics api_usage_logs "
    "integration_configs platform_settings audit_logs store_analytics revenue_reports "
    "usage_statistics performance_metrics"
)
WRITES = (Verb.INSERT, Verb.UPDATE, Verb.DELETE)
WRITTEN = frozenset({"users", "platform_settings"})


@pytest.mark.parametrize("name", SEED.split())
def test_every_table_of_the_seed_is_there(name: str) -> None:
    assert MASTER.table(name) is not None


@pytest.mark.parametrize("table", MASTER.tables, ids=lambda table: table.name)
def test_only_the_platform_writes_what_it_counts_and_charges(table: Table) -> None:
    actors = [actor for actor in Actor if actor is not Actor.SERVICE]
    written = any(table.access.allows(actor, verb) for actor in actors for verb in WRITES)
    assert written == (table.name in WRITTEN)
    assert not any(table.access.allows(Actor.ANON, verb) for verb in Verb)
    assert not any(table.access.allows(Actor.STRANGER, verb) for verb in Verb)


def test_no_client_reads_what_is_sealed_or_held() -> None:
    for name in ("integration_secrets", "usage_holds", "rollup_states"):
        table = MASTER.table(name)
        assert table is not None
        assert not any(
            table.access.allows(actor, Verb.SELECT) for actor in Actor if actor != Actor.SERVICE
        )
