"""Whom the driver of MySQL lets in, on a real MariaDB, and what is not its own."""

import pytest
from tests.integration.engine.drivers.mysql_subject import TIMEOUT_S, MysqlSubject
from tests.integration.engine.drivers.subject import fresh_name

from bulkhead.engine.drivers.errors import (
    CapabilityMissing,
    DatabaseForeign,
    PermissionDenied,
)
from bulkhead.engine.drivers.mysql import MysqlDriver
from bulkhead.engine.drivers.protocol import DatabaseSpec, Login


async def test_a_pattern_of_one_database_opens_no_other(mysql: MysqlSubject) -> None:
    name = fresh_name()
    async with (
        mysql.database(DatabaseSpec(f"{name}_a")) as one,
        mysql.database(DatabaseSpec(f"{name}xa")) as other,
        mysql.opened(one, Login.SERVICE) as service,
    ):
        with pytest.raises(PermissionDenied):
            await service.execute(f"use {other.name}", (), timeout_s=TIMEOUT_S)
        sql = f"select mark from {other.name}._bulkhead"
        with pytest.raises(PermissionDenied):
            await service.fetch(sql, (), timeout_s=TIMEOUT_S)


async def test_a_database_with_a_name_of_63_characters_has_accounts(mysql: MysqlSubject) -> None:
    async with mysql.database(DatabaseSpec("n" * 55)) as spec:
        for login in (Login.CLIENT, Login.SERVICE):
            async with mysql.opened(spec, login) as connection:
                database, user = await mysql.where(connection)
                assert database == spec.name
                assert len(user) <= 32


async def test_a_foreign_database_beside_our_accounts_is_not_touched(mysql: MysqlSubject) -> None:
    async with mysql.database() as spec:
        await mysql.leave_half_made(spec)
        await mysql.run("create table theirs (id integer)", database=spec.name)
        with pytest.raises(DatabaseForeign):
            await mysql.driver.ensure_database(spec)
        with pytest.raises(DatabaseForeign):
            await mysql.driver.drop_database(spec)
        await mysql.run("drop table theirs", database=spec.name)


async def test_an_administrator_without_rights_is_told_what_to_run(mysql: MysqlSubject) -> None:
    await mysql.run("create user novice@'%%' identified by 'secret'")
    try:
        endpoint = mysql.driver.endpoint
        dsn = (
            f"mysql://novice:secret@localhost:{endpoint.port}/"
            f"?ssl-mode=VERIFY_IDENTITY&ssl-ca={endpoint.ca_file}"
        )
        driver = MysqlDriver(dsn, b"x" * 32)
        with pytest.raises(CapabilityMissing) as caught:
            await driver.ensure_database(DatabaseSpec(fresh_name()))
        assert "grant all privileges" in caught.value.advice
    finally:
        await mysql.run("drop user novice@'%%'")


async def test_no_password_stands_in_a_statement(mysql: MysqlSubject) -> None:
    await mysql.run("set global log_output = 'TABLE'")
    await mysql.run("set global general_log = 1")
    try:
        async with mysql.database() as spec:
            passwords = [
                mysql.driver.session(spec, login).password
                for login in (Login.ADMIN, Login.CLIENT, Login.SERVICE)
            ]
            rows = await mysql.run("select argument as said from mysql.general_log")
    finally:
        await mysql.run("set global general_log = 0")
        await mysql.run("truncate table mysql.general_log")
    said = str([row["said"] for row in rows]).lower()
    assert "create user" in said
    assert not [password for password in passwords if password.lower() in said]
