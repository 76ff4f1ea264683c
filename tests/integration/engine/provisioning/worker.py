"""A worker as a process of its own, to be killed: `python worker.py <json>`."""

import asyncio
import json
import sys
from pathlib import Path

from tests.integration.engine.provisioning.tables import schema_of
from tests.integration.engine.provisioning.workshop import databases_of

from bulkhead.engine import failpoints
from bulkhead.engine.connections.database import OpenDatabase
from bulkhead.engine.connections.pool import Budget
from bulkhead.engine.drivers.embedded import EmbeddedDriver
from bulkhead.engine.drivers.endpoint import Endpoint, Tls
from bulkhead.engine.drivers.mysql import MysqlDriver
from bulkhead.engine.drivers.protocol import DatabaseSpec, Driver
from bulkhead.engine.failpoints import Mode
from bulkhead.engine.provisioning.service import ProvisioningLimits, build_provisioning


async def work(
    home: str, registry: str, template: str, fleet: str, mysql: list[object], stuck_at: str | None
) -> None:
    """Attach to the servers of the test, and work on its jobs until killed.

    The first job that comes to the failpoint `stuck_at` stays there.
    """
    if stuck_at is not None:
        failpoints.arm(stuck_at, Mode.STALL)
    embedded = EmbeddedDriver(Path(home), durable=False)
    await embedded.start()
    spec = DatabaseSpec(registry, role_prefix=template)
    database = OpenDatabase("platform", "master", embedded, spec, Budget(20))
    driver: Driver = embedded
    if mysql:
        port, password, secret = mysql
        endpoint = Endpoint("127.0.0.1", int(str(port)), "root", str(password), "", tls=Tls.DISABLE)
        driver = MysqlDriver(endpoint, bytes.fromhex(str(secret)))
    limits = ProvisioningLimits(jobs_max=2, warm=1, lease_s=1, poll_s=0.1, tend_s=0.5)
    provisioning = build_provisioning(
        databases_of(database, driver), [schema_of(fleet)], "killed", limits
    )
    await provisioning.run()


if __name__ == "__main__":
    asyncio.run(work(**json.loads(sys.argv[1])))  # noqa: TID251 - a process of its own
