"""The schema of a managed PostgreSQL database as SQL, by `pg_dump` of the server's own version."""

from __future__ import annotations

import asyncio
import asyncio.subprocess
import re
from typing import Final
from urllib.parse import unquote, urlsplit, urlunsplit

from bulkhead.engine.drivers.embedded import EmbeddedDriver
from bulkhead.engine.drivers.protocol import DatabaseSpec, Driver, Login
from bulkhead.engine.errors import BulkheadError

SCHEMAS: Final = ("public", "private", "bulkhead", "supabase_migrations")
"""Where tenants' tables are, and our records; what else there is, each server makes by itself."""
TIMEOUT_S: Final = 120.0
_META = re.compile(r"^\\(?:un)?restrict .*$", re.MULTILINE)


class SchemaNotDumped(BulkheadError):
    """The schema of database '{database}' could not be dumped: {reason}."""

    code = "schema_not_dumped"
    status = 503
    hint = "pg_dump of the server's version, or a later one, must be on the path."


async def dump_schema(driver: Driver, spec: DatabaseSpec) -> str:
    """SQL that makes the tables, functions, policies and rights of the database anew.

    Names owners and roles, which must exist where it is run. Raises SchemaNotDumped.
    """
    program = str(driver.program("pg_dump")) if isinstance(driver, EmbeddedDriver) else "pg_dump"
    parts = urlsplit(driver.url(spec, Login.ADMIN))
    login, _, place = parts.netloc.rpartition("@")
    user, _, password = login.partition(":")
    url = urlunsplit(parts._replace(netloc=f"{user}@{place}"))
    schemas = [f"--schema={name}" for name in SCHEMAS]
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
            # Not on the command line, which everybody on the machine can read.
            env={"PGPASSWORD": unquote(password), "PATH": "/usr/local/bin:/usr/bin:/bin"},
        )
    except OSError as error:
        raise SchemaNotDumped(database=spec.name, reason=str(error)) from error
    try:
        async with asyncio.timeout(TIMEOUT_S):
            output, errors = await process.communicate()
    except BaseException:
        process.kill()
        await process.wait()
        raise
    if process.returncode:
        reason = errors.decode(errors="replace").strip()[:500]
        raise SchemaNotDumped(database=spec.name, reason=reason)
    # psql's commands are not SQL.
    return _META.sub("", output.decode())
