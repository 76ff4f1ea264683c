"""A process that has a project made, to be killed: `python -m ... <json>`."""

import asyncio
import json
import sys

from bulkhead.engine import failpoints
from bulkhead.engine.drivers.protocol import DatabaseSpec
from bulkhead.engine.drivers.secret import SecretText
from bulkhead.engine.drivers.supabase import SupabaseDriver
from bulkhead.engine.drivers.supabase_project import Account, DatabaseComing, SupabaseAccess
from bulkhead.engine.egress import Egress
from bulkhead.engine.egress.address import LOOPBACK


async def make(url: str, token: str, organization: str, secret: str, name: str, point: str) -> None:
    """Ask for the project until it is up; die at `point`."""
    if point:
        failpoints.arm_to_exit(point)
    account = Account(SecretText(token), organization, "eu-central-1")
    access = SupabaseAccess(Egress(LOOPBACK), url)
    driver = SupabaseDriver(access, account, bytes.fromhex(secret))
    while True:
        try:
            await driver.begin_database(DatabaseSpec(name))
        except DatabaseComing:
            await asyncio.sleep(0.02)
        else:
            return


if __name__ == "__main__":
    asyncio.run(make(**json.loads(sys.argv[1])))  # noqa: TID251 - a process of its own
