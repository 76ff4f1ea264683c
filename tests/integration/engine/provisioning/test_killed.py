"""Worker processes that are killed at random while they work; others go on with their jobs."""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from tests.integration.engine.provisioning.workshop import Workshop

from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.drivers.embedded import EmbeddedDriver
from bulkhead.engine.drivers.mysql import MysqlDriver
from bulkhead.engine.provisioning.job import JobEnded, JobState, ProvisioningJob
from bulkhead.engine.provisioning.service import ProvisioningLimits

ROOT = Path(__file__).parents[4]
JOBS = 16
KILLS = 4


def start(workshop: Workshop, stuck_at: str | None) -> subprocess.Popen[bytes]:
    embedded = workshop.registry.driver
    assert isinstance(embedded, EmbeddedDriver), "as the tests have it"
    spec = workshop.registry.spec
    mysql: list[object] = []
    if isinstance(workshop.driver, MysqlDriver):
        endpoint, secret = workshop.driver.endpoint, workshop.driver._secret
        mysql = [endpoint.port, endpoint.password, secret.value.hex()]
    given = {
        "home": str(embedded.home.path),
        "registry": spec.name,
        "template": spec.role_prefix,
        "fleet": workshop.fleet,
        "mysql": mysql,
        "stuck_at": stuck_at,
    }
    program = "tests.integration.engine.provisioning.worker"
    return subprocess.Popen(
        [sys.executable, "-m", program, json.dumps(given)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT / 'tools'}:{ROOT}"},  # noqa: TID251
        stderr=subprocess.DEVNULL,
    )


async def wait_for_work(workshop: Workshop) -> None:
    """Return while a worker has jobs in hand; at the latest when all jobs have ended."""
    for _ in range(2000):
        async with workshop.registry.transaction(SERVICE, read_only=True) as tx:
            left = await tx.fetchval(
                "select count(*) from bulkhead.provisioning_jobs where finished_at is null"
            )
            working = await tx.fetchval(
                "select count(*) from bulkhead.provisioning_jobs"
                " where finished_at is null and leased_until > clock_timestamp()"
            )
        if working or not left:
            return
        await asyncio.sleep(0.02)


async def test_workers_that_are_killed_at_random(workshop: Workshop) -> None:
    """Some of the jobs are cancelled on the way: they leave nothing, all others are served."""
    chance = random.Random(20261126)  # noqa: S311 - a schedule, not a secret
    jobs: list[ProvisioningJob] = []
    for kill in range(1, KILLS + 1):
        for _ in range(JOBS // KILLS):
            jobs += [await workshop.provisioning.start(workshop.request())]
        # However fast the machine is, the last one leaves something half done.
        stuck_at = "provisioning.seed:before" if kill == KILLS else None
        worker = await asyncio.to_thread(start, workshop, stuck_at)
        await wait_for_work(workshop)
        await asyncio.sleep(chance.uniform(0, 0.4))
        worker.send_signal(signal.SIGKILL)
        await asyncio.to_thread(worker.wait)
        with suppress(JobEnded):
            await workshop.provisioning.cancel(chance.choice(jobs).id)
    interrupted = [await workshop.provisioning.get(job.id) for job in jobs]
    assert any(not job.has_ended and job.attempts for job in interrupted)
    await workshop.hurry()
    workshop.provisioning = workshop.again(ProvisioningLimits(warm=1))
    for job in jobs:
        ended = await workshop.finish(job)
        if ended.state is JobState.ACTIVE:
            await workshop.verify_served(ended)
        else:
            assert ended.state is JobState.CANCELLED, ended
    await workshop.hurry()
    await workshop.provisioning.tend()
    assert await workshop.orphans() == []
