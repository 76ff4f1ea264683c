"""What an administrator without enough rights is told."""

import secrets
from collections.abc import AsyncIterator

import pytest
from tests.integration.engine.drivers.subject import Subject, fresh_name

from bulkhead.engine.drivers.errors import CapabilityMissing
from bulkhead.engine.drivers.postgres import PostgresDriver
from bulkhead.engine.drivers.protocol import DatabaseSpec


@pytest.fixture
async def novice(limited: Subject) -> AsyncIterator[PostgresDriver]:
    """An administrator to whom nothing has been granted yet."""
    password = secrets.token_urlsafe()
    async with limited.look() as admin:
        await admin.execute(
            f"create role novice login password '{password}';"
            "grant connect on database postgres to novice"
        )
    dsn = f"postgresql://novice:{password}@127.0.0.1:{limited.superuser.port}/postgres"
    yield PostgresDriver(dsn, secrets.token_bytes(32))
    async with limited.look() as admin:
        await admin.execute("drop owned by novice cascade; drop role novice")


async def refusal(driver: PostgresDriver) -> CapabilityMissing:
    spec = DatabaseSpec(fresh_name())
    with pytest.raises(CapabilityMissing) as caught:
        await driver.ensure_database(spec)
    await driver.drop_database(spec)
    return caught.value


async def test_the_right_to_create_roles_is_asked_for(
    limited: Subject, novice: PostgresDriver
) -> None:
    found = await refusal(novice)
    assert "create roles" in found.message
    assert "CREATEROLE" in found.advice


async def test_the_right_to_hand_on_the_service_role_is_asked_for(
    limited: Subject, novice: PostgresDriver
) -> None:
    async with limited.database(), limited.look() as admin:
        await admin.execute(
            "alter role novice createrole createdb;"
            "grant anon, authenticated to novice with admin option"
        )
    found = await refusal(novice)
    assert "'service_role'" in found.message
    assert "with admin option" in found.advice


async def test_a_service_role_that_cannot_bypass_policies_is_refused(limited: Subject) -> None:
    assert isinstance(limited.driver, PostgresDriver)
    async with limited.look() as admin:
        await admin.execute("alter role service_role nobypassrls")
        try:
            found = await refusal(limited.driver)
        finally:
            await admin.execute("alter role service_role bypassrls")
    assert "BYPASSRLS" in found.message
    assert "superuser" in found.advice


async def test_the_right_to_create_databases_is_asked_for(limited: Subject) -> None:
    assert isinstance(limited.driver, PostgresDriver)
    async with limited.look() as admin:
        await admin.execute("alter role limited nocreatedb")
        try:
            found = await refusal(limited.driver)
        finally:
            await admin.execute("alter role limited createdb")
    assert "CREATEDB" in found.advice
