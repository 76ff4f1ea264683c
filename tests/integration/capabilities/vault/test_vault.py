import asyncio
import os
from dataclasses import replace
from pathlib import Path

import pytest
from tests.integration.capabilities.vault.safe import SAFE, Safe, place

from bulkhead.capabilities.vault import (
    MasterKeyMissing,
    MasterKeyUnusable,
    MasterKeyWrong,
    SecretDestroyed,
)
from bulkhead.capabilities.vault import vault as vault_module
from bulkhead.capabilities.vault.errors import RotationRefused
from bulkhead.engine.connections.claims import ANON, user
from bulkhead.engine.drivers.errors import PermissionDenied
from bulkhead.engine.ids import new_id
from bulkhead.engine.sealing import SealBroken
from bulkhead.engine.settings import Settings
from bulkhead.engine.system import open_system
from bulkhead.engine.testing import TestServers


async def test_a_secret_opens_in_its_row_in_every_process(safe: Safe) -> None:
    row = await safe.put("north", "hunter2")
    assert await safe.get(row) == "hunter2"
    assert await safe.get(row, vault=safe.again()) == "hunter2"


async def test_rows_that_were_swapped_do_not_open(safe: Safe) -> None:
    one, two = await safe.put("north", "hunter1"), await safe.put("north", "hunter2")
    await safe.sql(
        "update accounts a set sealed_password = b.sealed_password from accounts b"
        " where a.id = $1 and b.id = $2",
        one,
        two,
    )
    with pytest.raises(SealBroken):
        await safe.get(one)
    assert await safe.get(two) == "hunter2"


async def test_a_row_that_is_given_to_another_tenant_does_not_open(safe: Safe) -> None:
    row = await safe.put("north", "hunter2")
    await safe.put("south", "other")
    await safe.sql("update accounts set tenant = 'south' where id = $1", row)
    with pytest.raises(SealBroken):
        await safe.get(row)


async def test_a_key_that_was_moved_to_another_tenant_does_not_open(safe: Safe) -> None:
    row = await safe.put("north", "hunter2")
    await safe.sql("update bulkhead.vault_keys set tenant = 'east' where tenant = 'north'")
    await safe.sql("update accounts set tenant = 'east' where id = $1", row)
    with pytest.raises(SealBroken):
        await safe.get(row, vault=safe.again())


async def test_every_tenant_has_a_key_of_its_own_however_many_ask_at_once(safe: Safe) -> None:
    vaults = [safe.again() for _ in range(8)]
    async with asyncio.TaskGroup() as group:
        for number in range(40):
            group.create_task(safe.put(f"tenant{number % 4}", "hunter2", vault=vaults[number % 8]))
    keys = await safe.sql("select tenant from bulkhead.vault_keys order by tenant")
    assert [key["tenant"] for key in keys] == [f"tenant{number}" for number in range(4)]
    rows = await safe.sql("select id from accounts")
    assert [await safe.get(str(row["id"])) for row in rows] == ["hunter2"] * 40


async def test_a_tenant_s_key_is_rotated_and_old_values_still_open(safe: Safe) -> None:
    before = await safe.put("north", "hunter1")
    key = await safe.vault.rotate_key("north")
    after = await safe.put("north", "hunter2")
    assert [await safe.get(before), await safe.get(after)] == ["hunter1", "hunter2"]
    [row] = await safe.sql("select sealed_password as it from accounts where id = $1", after)
    assert int.from_bytes(row["it"][5:9], "big") == key
    with pytest.raises(RotationRefused):
        await safe.vault.rotate_key("nobody")


async def test_a_key_that_has_sealed_too_much_is_replaced_by_itself(
    safe: Safe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vault_module, "SEALS_MAX", 3 * vault_module.SEALS_BLOCK)
    context = place(new_id(), "north")
    for _ in range(8 * vault_module.SEALS_BLOCK):
        await safe.vault.seal(b"x", context)
    keys = await safe.sql("select state, seals from bulkhead.vault_keys order by id")
    assert [key["state"] for key in keys] == ["previous", "previous", "current"]
    assert all(key["seals"] <= 4 * vault_module.SEALS_BLOCK for key in keys)


async def test_a_shredded_tenant_s_secrets_are_gone_and_nobody_else_s(safe: Safe) -> None:
    row, other = await safe.put("north", "hunter2"), await safe.put("south", "hunter3")
    backup = await safe.sql("select sealed_password as it from accounts where id = $1", row)
    await safe.vault.rotate_key("north")
    assert await safe.vault.shred("north") == 2
    with pytest.raises(SecretDestroyed):
        await safe.get(row)
    with pytest.raises(SecretDestroyed):
        await safe.again().open(backup[0]["it"], place(row, "north"))
    assert await safe.get(other) == "hunter3"
    assert await safe.sql("select wrapped from bulkhead.vault_keys where wrapped is not null")
    assert await safe.get(await safe.put("north", "anew")) == "anew"


async def test_another_process_forgets_a_destroyed_key_in_time(
    safe: Safe, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = 1000.0
    monkeypatch.setattr(vault_module, "monotonic_s", lambda: clock)
    other = safe.again()
    row = await safe.put("north", "hunter2", vault=other)
    await safe.vault.shred("north")
    assert await safe.get(row, vault=other) == "hunter2"
    clock += vault_module.CACHE_S
    with pytest.raises(SecretDestroyed):
        await safe.get(row, vault=other)


async def test_equal_secrets_are_found_by_their_fingerprint(safe: Safe) -> None:
    one = await safe.vault.fingerprint(b"sk_live_1", "stripe")
    assert one == await safe.again().fingerprint(b"sk_live_1", "stripe")
    assert one != await safe.vault.fingerprint(b"sk_live_2", "stripe")
    assert one != await safe.vault.fingerprint(b"sk_live_1", "paypal")
    with pytest.raises(RotationRefused):
        await safe.vault.rotate_key("fingerprint:stripe")


async def test_clients_see_neither_keys_nor_what_they_seal(safe: Safe) -> None:
    await safe.put("north", "hunter2")
    database = safe.system.database("master")
    for claims in (ANON, user(new_id())):
        for table in ("bulkhead.vault_keys", "bulkhead.vault_masters", "public.accounts"):
            with pytest.raises(PermissionDenied):
                async with database.transaction(claims) as tx:
                    await tx.fetch(f"select count(*) from {table}")


async def test_the_right_key_is_needed_to_start(safe: Safe) -> None:
    row = await safe.put("north", "hunter2")
    path = safe.key_file
    right = path.read_text()
    for wrong, error in (
        (None, MasterKeyMissing),
        (os.urandom(32), MasterKeyMissing),
        (b"nonsense", MasterKeyUnusable),
    ):
        path.unlink(missing_ok=True)
        if wrong is not None:
            path.write_bytes(wrong)
        with pytest.raises(error) as caught:
            await safe.again().unlock()
        assert "import-key" in caught.value.advice
        assert path.exists() == (wrong is not None), "no key is made where one is missing"
    path.write_text(right)
    again = safe.again()
    await again.unlock()
    assert await safe.get(row, vault=again) == "hunter2"
    await safe.sql("update bulkhead.vault_masters set check_value = $1", os.urandom(16))
    with pytest.raises(MasterKeyWrong):
        await safe.again().unlock()


async def test_a_database_that_was_not_migrated_yet_has_nothing_to_unlock(
    servers: TestServers, tmp_path: Path
) -> None:
    topology = replace(SAFE.topology, application="bare")
    bare = replace(SAFE, name="bare", topology=topology, migrations=())
    async with servers.system(bare, Settings(home=tmp_path)) as system:
        await system.vault.unlock()
        assert not system.vault.masters.path.exists()


async def test_an_application_does_not_start_with_a_wrong_key(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home")
    async with open_system(SAFE, settings) as system:
        await Safe(system, system.vault).put("north", "hunter2")
        key = system.vault.masters.path
    key.unlink()
    with pytest.raises(MasterKeyMissing):
        async with open_system(SAFE, settings):
            pass


async def test_many_processes_that_start_at_once_agree_on_one_key(
    servers: TestServers, tmp_path: Path
) -> None:
    async with servers.system(SAFE, Settings(home=tmp_path)) as system:
        vaults = [Safe(system, system.vault).again() for _ in range(8)]
        async with asyncio.TaskGroup() as group:
            for vault in vaults:
                group.create_task(vault.unlock())
        assert len({vault.masters.keys for vault in vaults}) == 1
        found = await Safe(system, vaults[0]).sql("select state from bulkhead.vault_masters")
        assert [row["state"] for row in found] == ["current"]
