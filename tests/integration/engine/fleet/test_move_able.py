"""Servers between which no tenant can move say what they lack."""

import pytest
from tests.integration.engine.fleet.test_fleet import WHO

from bulkhead.engine.connections.database import OpenDatabase
from bulkhead.engine.drivers.errors import CapabilityMissing, DatabaseMissing
from bulkhead.engine.drivers.protocol import Login
from bulkhead.engine.fleet import replication
from bulkhead.engine.fleet.move import Mover
from bulkhead.engine.fleet.move_store import MoveUnknown
from bulkhead.engine.testing import TENANT_SCHEMA, TestServers

NEWER = (
    TENANT_SCHEMA
    + """
create schema elsewhere;
create type elsewhere.mood as enum ('calm');
create table public.moods (id integer primary key, mood elsewhere.mood);
"""
)
"""What cannot be made from what is copied, as if the other server were too old for it."""


async def test_a_server_that_cannot_follow_says_what_it_lacks_before_it_has_the_schema(
    servers: TestServers, registry: OpenDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with servers.fleet(registry, tenants=1, on=("shared", "second"), schema=NEWER) as made:
        (tenant,) = made.tenants
        mover = Mover(made.fleet)
        await mover.start(tenant, server="second")
        monkeypatch.setattr(replication, "VERSION_MIN", 990000)
        with pytest.raises(CapabilityMissing, match=r"for moves, PostgreSQL 16 or later\.") as told:
            await mover.run(tenant)
        assert "wal_level" not in told.value.message
        with pytest.raises(MoveUnknown):
            await mover.get(tenant)
        with pytest.raises(DatabaseMissing):
            await made.drivers["second"].connect(made.specs[tenant], Login.ADMIN, timeout_s=10)
        assert len(await made.fleet.query(tenant, WHO)) == 1
