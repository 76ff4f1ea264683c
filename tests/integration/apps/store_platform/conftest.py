"""What all tests of the platform share: on the day on which one begins, it ends."""

import asyncio
import datetime as dt

import pytest

from bulkhead.engine.clock import now

TEST_S_MAX = 60.0
"""How long a test takes in which figures are kept by the day, on a slow machine."""


@pytest.fixture(autouse=True)
async def within_a_day() -> None:
    """Let midnight pass first where it is near: such figures would be those of two days."""
    begun_at = now()
    midnight = begun_at.replace(hour=0, minute=0, second=0, microsecond=0) + dt.timedelta(days=1)
    left_s = (midnight - begun_at).total_seconds()
    if left_s < TEST_S_MAX:
        await asyncio.sleep(left_s + 0.1)
