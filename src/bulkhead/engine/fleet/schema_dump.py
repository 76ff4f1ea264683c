"""The schema of a managed PostgreSQL database as SQL, by a `pg_dump` that the server accepts.

`pg_dump` refuses servers that are newer than itself. For a server that is not our own the one on
the path is tried first, because its version is likely the servers', and then the one that comes
with our own server.
"""

from __future__ import annotations

import asyncio
import asyncio.subprocess
import contextlib
import re
from typing import Final
from urllib.parse import unquote, urlsplit, urlunsplit

from bulkhead.engine.drivers.embedded import EmbeddedDriver
from bulkhead.engine.drivers.embedded_install import InstallationUnusable, find_installation
from bulkhead.engine.drivers.protocol import DatabaseSpec, Driver, Login, Provider
from bulkhead.engine.errors import BulkheadError

SCHEMAS: Final = ("public", "private", "bulkhead", "supabase_migrations")
"""Where tenants' tables are, and our records; what else there is, each server makes by itself."""
CONNECT_TIMEOUT_S: Final = 10.0
TIMEOUT_S: Final = 120.0
PATH: Final = "/usr/local/bin:/usr/bin:/bin"
TOO_NEW: Final = "server version mismatch"
_META = re.compile(r"^\\(?:un)?restrict .*$", re.MULTILINE)


class SchemaNotDumped(BulkheadError):
    """The schema of database '{database}' could not be dumped: {reason}."""

    code = "schema_not_dumped"
    status = 503
    hint = "Check that the server answers, and that the pg_dump on the path is not older than it."


async def dump_schema(driver: Driver, spec: DatabaseSpec) -> str:
    """SQL that makes the tables, functions, policies and rights of the database anew.

    Names owners and roles, which must exist where it is run. Raises SchemaNotDumped.
    """
    refusal = SchemaNotDumped(database=spec.name, reason="there is no pg_dump")
    for program in _programs(driver):
        try:
            return await _dump(program, driver, spec)
        except SchemaNotDumped as error:
            refusal = error
            if not isinstance(error.__cause__, OSError) and TOO_NEW not in error.message:
                break
    raise refusal


def _programs(driver: Driver) -> list[str]:
    """Those that may fit, the likeliest first."""
    if isinstance(driver, EmbeddedDriver):
        return [str(driver.program("pg_dump"))]
    programs = ["pg_dump"]
    with contextlib.suppress(InstallationUnusable):
        programs.append(str(find_installation().program("pg_dump")))
    return programs


async def _dump(program: str, driver: Driver, spec: DatabaseSpec) -> str:
    parts = urlsplit(driver.url(spec, Login.ADMIN))
    login, _, place = parts.netloc.rpartition("@")
    user, _, password = login.partition(":")
    url = urlunsplit(parts._replace(netloc=f"{user}@{place}"))
    schemas = [f"--schema={name}" for name in SCHEMAS]
    # The password is not on the command line, which everybody on the machine can read.
    environment = {
        "PGPASSWORD": unquote(password),
        "PGCONNECT_TIMEOUT": f"{CONNECT_TIMEOUT_S:.0f}",
        "PATH": PATH,
    }
    if isinstance(driver, Provider):
        environment["PGHOSTADDR"] = await driver.address_of(spec)
    try:
        process = await asyncio.create_subprocess_exec(
            program,
            "--schema-only",
            "--no-publications",
            "--no-subscriptions",
            *schemas,
            f"--dbname={url}",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment,
        )
    except OSError as error:
        raise SchemaNotDumped(database=spec.name, reason=str(error)) from error
    try:
        async with asyncio.timeout(TIMEOUT_S):
            output, errors = await process.communicate()
    except BaseException as error:
        process.kill()
        await process.wait()
        if isinstance(error, TimeoutError):
            reason = f"it took longer than {TIMEOUT_S:g} s"
            raise SchemaNotDumped(database=spec.name, reason=reason) from None
        raise
    if process.returncode:
        reason = errors.decode(errors="replace").strip()[:500]
        raise SchemaNotDumped(database=spec.name, reason=reason)
    # psql's commands are not SQL.
    return _META.sub("", output.decode())
