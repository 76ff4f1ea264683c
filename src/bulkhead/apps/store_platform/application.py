"""The store platform: what it declares, and how it is mounted."""

from __future__ import annotations

from bulkhead.apps.store_platform.topology import TOPOLOGY
from bulkhead.capabilities.identity import identity_migrations
from bulkhead.engine.application import Application

NAME = "store_platform"

APPLICATION = Application(
    NAME,
    "Store platform",
    TOPOLOGY,
    migrations=(identity_migrations("master"),),
)
