"""Real processes that are killed while they have a project made."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest
from tests.integration.engine.drivers.subject import fresh_name
from tests.integration.engine.drivers.supabase_subject import (
    SupabaseSubject,
    fresh_driver,
    verify_one,
)

from bulkhead.engine import failpoints
from bulkhead.engine.drivers.protocol import DatabaseSpec

ROOT = Path(__file__).parents[4]


async def start_process(
    subject: SupabaseSubject, spec: DatabaseSpec, point: str = ""
) -> asyncio.subprocess.Process:
    account = subject.driver.projects.account
    given = {
        "url": subject.api.url,
        "token": account.token.reveal(),
        "organization": account.organization,
        "secret": subject.driver._secret.value.hex(),
        "name": spec.name,
        "point": point,
    }
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.integration.engine.drivers.supabase_process"),
        json.dumps(given),
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"},  # noqa: TID251
    )


@pytest.mark.parametrize(
    ("point", "left"), [("supabase.project:before_create", 0), ("supabase.project:created", 1)]
)
async def test_a_process_that_is_killed_is_gone_on_with(
    supabase: SupabaseSubject, point: str, left: int
) -> None:
    spec = DatabaseSpec(fresh_name())
    process = await start_process(supabase, spec, point)
    assert await process.wait() == failpoints.EXIT_CODE
    assert len(supabase.api.cloud.named(spec.name)) == left
    await fresh_driver(supabase).ensure_database(spec)
    await verify_one(supabase, spec)


async def test_several_processes_of_which_one_is_killed_leave_one_project(
    supabase: SupabaseSubject,
) -> None:
    spec = DatabaseSpec(fresh_name())
    supabase.api.requests.clear()
    processes = [await start_process(supabase, spec) for _ in range(3)]
    for _ in range(3000):
        if supabase.api.count("POST", "/v1/projects$"):
            break
        await asyncio.sleep(0.01)
    processes[0].kill()
    ended = [await process.wait() for process in processes]
    assert ended[1:] == [0, 0]
    await fresh_driver(supabase).ensure_database(spec)
    await verify_one(supabase, spec)
