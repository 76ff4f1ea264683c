"""A process that runs a relay over databases that a test has made, until it dies or is killed.

Started with one argument of JSON: `home` of the server, `specs` by database, and `point`, the
failpoint at which to die; without a point it delivers until it is killed.
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.integration.engine.messaging.parcels_application import Handlers, parcels_application

from bulkhead.engine import failpoints
from bulkhead.engine.connections.router import Placement
from bulkhead.engine.drivers.embedded import EmbeddedDriver
from bulkhead.engine.drivers.protocol import DatabaseSpec
from bulkhead.engine.settings import Settings
from bulkhead.engine.system import System, build_system

ROOT = Path(__file__).parents[4]


async def start_relay_process(system: System, point: str = "") -> asyncio.subprocess.Process:
    """Start this file as a process over the databases of `system`, all of one server."""
    driver = system.router.placements[0].driver
    assert isinstance(driver, EmbeddedDriver)
    order = {
        "home": str(driver.home.path),
        "specs": {each.database: asdict(each.spec) for each in system.router.placements},
        "point": point,
    }
    return await asyncio.create_subprocess_exec(
        sys.executable,
        __file__,
        json.dumps(order),
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'src'}"},
    )


async def run(order: dict[str, Any]) -> None:
    driver = EmbeddedDriver(Path(order["home"]), durable=False)
    await driver.start()
    assert not driver.owns_server, "the test owns the server"
    placements = [
        Placement(name, driver, DatabaseSpec(**{**spec, "extensions": tuple(spec["extensions"])}))
        for name, spec in order["specs"].items()
    ]
    system = build_system(parcels_application(Handlers()), Settings(), placements)
    if order["point"]:
        failpoints.arm(order["point"], failpoints.Mode.EXIT)
        await system.relay.drain()
    else:
        await system.relay.start()
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(run(json.loads(sys.argv[1])))  # noqa: TID251 - it is a program
