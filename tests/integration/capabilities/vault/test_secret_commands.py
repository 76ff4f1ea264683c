"""`bulkhead secret` on an application that has secrets."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from tests.integration.capabilities.vault.safe import SAFE, Safe

from bulkhead.cli import session
from bulkhead.cli.main import cli
from bulkhead.cli.output import EXIT_FINDINGS
from bulkhead.engine.settings import Settings
from bulkhead.engine.system import open_system

Run = Callable[..., Any]


@pytest.fixture
async def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with the safe in it, in the place of the application that is there by default."""
    monkeypatch.setattr(session, "load_application", lambda _: SAFE)
    path = tmp_path / "home"
    async with open_system(SAFE, Settings(home=path)) as system:
        safe = Safe(system, system.vault)
        for tenant in ("north", "south"):
            await safe.put(tenant, "hunter2")
    return path


async def test_keys_are_listed_rotated_verified_and_shredded(home: Path) -> None:
    async def run(*arguments: str, code: int = 0) -> Any:
        runner = CliRunner()
        command = ["--json", "--home", str(home), "secret", *arguments]
        # A command starts a loop of its own, so it gets a thread of its own.
        result = await asyncio.to_thread(runner.invoke, cli, command, standalone_mode=False)
        assert result.exception is None, result.output
        assert (result.return_value or 0) == code, result.output
        assert "hunter2" not in result.output
        return json.loads(result.stdout)

    assert [row["tenant"] for row in await run("list")] == ["south", "north"]
    master = (await run("rotate"))["master"]
    assert {row["master"] for row in await run("list")} == {master}
    assert (await run("rotate", "--tenant", "north"))["values"] == 1
    assert [row["state"] for row in await run("list", "-t", "north")] == ["current", "previous"]
    assert await run("rotate", "--finish") == {"keys": 0, "values": 0}
    levels = {finding["level"] for finding in await run("verify")}
    assert levels == {"ok", "info"}
    assert (await run("shred", "--yes", "north"))["keys"] == 2
    [seals] = [each for each in await run("verify") if each["code"] == "seals_open"]
    assert seals["detail"] == "1 values open, 1 were destroyed with their keys"
    async with open_system(SAFE, Settings(home=home), provision=False) as system:
        await Safe(system, system.vault).sql("update accounts set sealed_password = 'x'")
    findings = await run("verify", code=EXIT_FINDINGS)
    assert [each["code"] for each in findings if each["level"] == "error"] == ["seal_broken"]
