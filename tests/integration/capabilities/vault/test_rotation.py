import asyncio
import contextlib
import os
from dataclasses import dataclass, field

import pytest
from tests.integration.capabilities.vault.safe import Safe, place

from bulkhead.capabilities.vault import Vault
from bulkhead.capabilities.vault.check_up import check_file, check_values, check_vault
from bulkhead.capabilities.vault.errors import RotationRefused
from bulkhead.capabilities.vault.master_keys import MasterKeys
from bulkhead.capabilities.vault.rotation import (
    BATCH,
    RESEALED,
    REWRAPPED,
    finish_rotation,
    reseal,
    rotate_master,
    tend_rotation,
)
from bulkhead.engine.monitoring.findings import Level
from bulkhead.engine.testing import crash_at


async def key_ids(safe: Safe) -> set[int]:
    rows = await safe.sql("select sealed_password as it from accounts")
    return {int.from_bytes(row["it"][5:9], "big") for row in rows}


async def test_a_new_master_key_leaves_every_secret_as_it_is(safe: Safe) -> None:
    rows = [await safe.put(f"tenant{number}", f"hunter{number}") for number in range(5)]
    before = await safe.sql("select sealed_password from accounts order by id")
    made = await rotate_master(safe.vault)
    assert await safe.sql("select sealed_password from accounts order by id") == before
    [row] = await safe.sql("select distinct master from bulkhead.vault_keys")
    assert bytes(row["master"]) == made.id
    for vault in (safe.vault, safe.again()):
        await vault.unlock()
        assert [await safe.get(row, vault=vault) for row in rows] == [
            f"hunter{number}" for number in range(5)
        ]
    states = await safe.sql("select state from bulkhead.vault_masters order by state")
    assert [state["state"] for state in states] == ["current", "retired"]


async def test_a_process_that_knows_the_former_master_key_only_reads_the_file_anew(
    safe: Safe,
) -> None:
    other = safe.again()
    await other.unlock()
    row = await safe.put("north", "hunter2")
    await rotate_master(safe.vault)
    assert await safe.get(row, vault=other) == "hunter2"
    made = await safe.put("south", "hunter3", vault=other)
    assert await safe.get(made) == "hunter3"
    [found] = await safe.sql("select master from bulkhead.vault_keys where tenant = 'south'")
    assert bytes(found["master"]) == safe.vault.masters.keys[0].id


async def test_a_rotation_that_was_interrupted_is_finished(safe: Safe) -> None:
    for number in range(BATCH + 50):
        await safe.vault.seal(b"x", place("row", f"tenant{number}"))
    with crash_at(REWRAPPED):
        await rotate_master(safe.vault)
    again = safe.again()
    await again.unlock()
    [finding] = [each for each in await check_vault(again) if each.level is Level.WARNING]
    assert finding.code == "rotation_unfinished"
    assert "50 keys" in finding.detail
    assert await finish_rotation(again) == 50
    assert await finish_rotation(again) == 0
    assert {each.level for each in await check_vault(again)} <= {Level.OK, Level.INFO}


async def test_a_new_key_in_an_operator_s_file_is_taken_at_the_next_rotation(
    safe: Safe,
) -> None:
    row = await safe.put("north", "hunter2")
    path = safe.key_file
    given = safe.again()
    given.masters = MasterKeys(path, is_ours=False)
    with pytest.raises(RotationRefused):
        await rotate_master(given)
    MasterKeys(path).rotate()
    made = await rotate_master(given)
    assert made == given.masters.keys[0]
    assert await safe.get(row, vault=given) == "hunter2"


async def test_what_a_former_key_sealed_is_sealed_anew_and_goes_on_after_a_crash(
    safe: Safe,
) -> None:
    for number in range(BATCH + 20):
        await safe.put("north", f"hunter{number}")
    await safe.put("south", "other")
    key = await safe.vault.rotate_key("north")
    with crash_at(RESEALED):
        await reseal(safe.vault, tenant="north")
    assert len(await key_ids(safe)) == 3, "one batch is done"
    other = safe.again()
    assert await reseal(other) == 20
    assert await reseal(other) == 0
    south = await safe.sql("select id from bulkhead.vault_keys where tenant = 'south'")
    assert await key_ids(safe) == {key, south[0]["id"]}
    assert {each.level for each in await check_values(safe.vault)} == {Level.OK}


async def test_a_process_that_still_seals_with_the_former_key_is_caught_up_with(
    safe: Safe,
) -> None:
    other = safe.again()
    await safe.put("north", "early", vault=other)
    key = await safe.vault.rotate_key("north")
    late = await safe.put("north", "late", vault=other)
    assert key not in await key_ids(safe)
    assert await reseal(other) == 2
    assert await key_ids(safe) == {key}
    assert await safe.get(late) == "late"


@pytest.mark.parametrize("tenants", [3, 25], ids=["few", "many"])
async def test_a_job_finishes_what_a_rotation_left_and_then_asks_little(
    safe: Safe, tenants: int
) -> None:
    names = [f"tenant{number:02}" for number in range(tenants)]
    rows = {name: await safe.put(name, f"of {name}") for name in names}
    with crash_at(REWRAPPED):
        await rotate_master(safe.vault)
    keys = {await safe.vault.rotate_key(name) for name in names}
    job = safe.again()
    await job.unlock()
    assert await tend_rotation(job) == 0, "processes may still seal with those keys"
    assert not await key_ids(safe) & keys
    with crash_at(RESEALED):
        await tend_rotation(job, settled_s=0)
    after = safe.again()
    await after.unlock()
    await tend_rotation(after, settled_s=0)
    assert await key_ids(safe) == keys
    assert [await safe.get(row) for row in rows.values()] == [f"of {name}" for name in rows]
    left = "select count(*) as it from bulkhead.vault_keys where state = 'previous'"
    emptied = await safe.sql(f"{left} and emptied_at is not null")
    assert emptied == await safe.sql(left)
    assert await tend_rotation(after, settled_s=0) == 0
    states = await safe.sql("select state from bulkhead.vault_masters order by state")
    assert [state["state"] for state in states] == ["current", "retired"]


async def test_a_value_that_does_not_open_is_left_and_reported(safe: Safe) -> None:
    row = await safe.put("north", "hunter2")
    await safe.put("north", "hunter3")
    await safe.sql("update accounts set sealed_password = $2 where id = $1", row, os.urandom(60))
    await safe.vault.rotate_key("north")
    assert await reseal(safe.vault) == 1
    [finding] = await check_values(safe.vault)
    assert finding.level is Level.ERROR
    assert row in finding.detail
    await safe.sql("update bulkhead.vault_keys set commitment = $1", os.urandom(16))
    findings = await check_vault(safe.again())
    assert "key_broken" in {each.code for each in findings}


TENANTS = [f"tenant{number}" for number in range(6)]


@dataclass(slots=True)
class Load:
    """Processes that seal and open as fast as they can."""

    safe: Safe
    vaults: list[Vault]
    rows: list[str]
    failures: list[BaseException] = field(default_factory=list)
    done: int = 0
    turn: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def ask(self, number: int) -> None:
        while True:
            try:
                await self._ask_once(number, self.vaults[number % 3], self.vaults[number % 2])
            except Exception as error:  # noqa: BLE001 - every failure counts
                self.failures.append(error)
            self.done += 1
            async with self.turn:
                self.turn.notify_all()

    async def goes_on(self) -> None:
        """Wait until they have asked as often again as there are tenants."""
        wanted = self.done + len(TENANTS)
        async with self.turn:
            await self.turn.wait_for(lambda: self.done >= wanted)

    async def _ask_once(self, number: int, vault: Vault, other: Vault) -> None:
        assert await self.safe.get(self.rows[number], vault=vault) == "hunter2"
        made = await self.safe.put(TENANTS[number], "made", vault=vault)
        assert await self.safe.get(made, vault=other) == "made"
        vault.forget(TENANTS[(number + self.done) % 6])  # As time would.


async def test_no_request_fails_while_everything_is_rotated(safe: Safe) -> None:
    vaults = [safe.again() for _ in range(3)]
    load = Load(safe, vaults, [await safe.put(tenant, "hunter2") for tenant in TENANTS])
    tasks = [asyncio.create_task(load.ask(number)) for number in range(6)]
    for _ in range(5):
        await rotate_master(safe.again())
        for tenant in TENANTS:
            await safe.again().rotate_key(tenant)
        await reseal(safe.again())
        await load.goes_on()
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    assert load.failures == []
    await reseal(safe.again())
    current = await safe.sql("select id from bulkhead.vault_keys where state = 'current'")
    assert await key_ids(safe) == {row["id"] for row in current}
    assert {each.level for each in await check_values(safe.again())} == {Level.OK}


async def test_a_check_up_knows_where_a_key_should_not_be(safe: Safe) -> None:
    path = safe.key_file
    assert [*check_file(safe.vault)] == []
    path.chmod(0o644)
    assert [each.code for each in check_file(safe.vault)] == ["key_file_open"]
    path.chmod(0o600)
    (path.parent.parent / "data").mkdir()
    assert [each.level for each in check_file(safe.vault)] == [Level.INFO]
    (path.parent.parent / "PG_VERSION").touch()
    assert [each.code for each in check_file(safe.vault)] == ["key_beside_data"]
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    assert [*check_file(safe.vault)] == []
    assert "secret_master_key_missing" in {each.code for each in await check_vault(safe.again())}
