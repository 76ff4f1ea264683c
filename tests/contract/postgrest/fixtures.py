"""PostgREST's own fixtures, loaded into the embedded server; what that server lacks is replaced.

The files and the replacements are those of `../shared/postgrest`, whose `load_fixtures.py` does the
same for a server of one's own.
"""

import io
import re
from pathlib import Path
from typing import Any

from bulkhead.engine.connections.sql import identifier, literal

SHARED = Path(__file__).parents[4] / "shared" / "postgrest"
"""Beside the checkout."""
AUTHENTICATOR = "Postgrest_Test_Authenticator"
PASSWORD = "authpass"  # noqa: S105
ROLES = (
    "postgrest_test_anonymous",
    "postgrest_test_default_role",
    "postgrest_test_author",
    "postgrest_test_superuser",
)
_COPY = re.compile(
    r"^(copy\s[^;]*?from\s+stdin[^;]*;)\n(.*?)^\\\.\n", re.IGNORECASE | re.DOTALL | re.MULTILINE
)
_GEOMETRY = re.compile(r"extensions\.geometry\((?:POINT|POLYGON|LINESTRING), 4326\)")
_XML_VIEW = re.compile(r"CREATE VIEW test\.xml AS.*?\);\n", re.DOTALL)


async def create_roles(admin: Any) -> None:
    """Create the roles of the fixtures, which belong to the whole server."""
    for role in ROLES:
        superuser = " superuser" if role.endswith("superuser") else ""
        await admin.execute(f"create role {identifier(role)}{superuser}")
    await admin.execute(
        f"create role {identifier(AUTHENTICATOR)} login noinherit password {literal(PASSWORD)}"
    )


async def load_fixtures(admin: Any, database: str, dump: Path) -> frozenset[str]:
    """Fill `database`, to which `admin` is connected; returns what the server was seen to lack.

    The server writes what the foreign table reads to `dump`.
    """
    available = {
        row["name"] for row in await admin.fetch("select name from pg_available_extensions")
    }
    lacking = {name for name in ("pgcrypto", "postgis", "file_fdw") if name not in available}
    if not await _succeeds(admin, "select '<a/>'::xml"):
        lacking.add("libxml")
    if not await _succeeds(admin, "load 'safeupdate'"):
        lacking.add("safeupdate")
    scripts = {name: _read(name) for name in _FILES}
    scripts["schema.sql"] = _adapt_schema(scripts["schema.sql"], lacking)
    if "pgcrypto" in lacking:
        scripts["database.sql"] = scripts["database.sql"].replace(
            "CREATE EXTENSION IF NOT EXISTS pgcrypto;", ""
        )
    for name in _FILES:
        script = scripts[name].replace(":DBNAME", identifier(database))
        script = script.replace(':"PGUSER"', identifier(AUTHENTICATOR))
        await _run(admin, script.replace("/tmp/projects_dump.csv", str(dump)))  # noqa: S108
    await admin.execute("reset search_path")
    await admin.execute("reset all")
    return frozenset(lacking)


_FILES = (
    "database.sql",
    "roles.sql",
    "schema.sql",
    "jwt.sql",
    "jsonschema.sql",
    "privileges.sql",
    "data.sql",
)


def _read(name: str) -> str:
    """A script without psql's own commands; roles are created apart, since a server shares them."""
    text = (SHARED / "fixtures" / name).read_text(encoding="utf-8")
    lines = (line for line in text.split("\n") if not line.startswith("\\") or line == "\\.")
    script = "\n".join(lines)
    if name == "roles.sql":
        script = re.sub(r"(?m)^(CREATE|DROP) ROLE.*$", "", script)
    return script


def _adapt_schema(schema: str, lacking: set[str]) -> str:
    if "pgcrypto" in lacking:
        stub = (SHARED / "stub_pgcrypto.sql").read_text(encoding="utf-8")
        schema = schema.replace("CREATE EXTENSION IF NOT EXISTS pgcrypto;", stub)
    if "postgis" in lacking:
        stub = (SHARED / "stub_postgis.sql").read_text(encoding="utf-8")
        schema = schema.replace(
            "create extension if not exists postgis with schema extensions;", stub
        )
        schema = _GEOMETRY.sub("extensions.geometry", schema)
    if "libxml" in lacking:
        schema = schema.replace(
            'create domain "text/xml" as pg_catalog.xml;', 'create domain "text/xml" as text;'
        )
        schema = schema.replace("    xml pg_catalog.xml NOT NULL", "    xml text NOT NULL")
        schema = schema.replace(
            'select xmlconcat2(state, next.xml)::"text/xml";',
            "select (coalesce(state::text, '') || next.xml)::\"text/xml\";",
        )
        constants = "SELECT ''::text AS data, 1 AS id, 'not specified'::text AS premier_name"
        schema = _XML_VIEW.sub(f"CREATE VIEW test.xml AS {constants};\n", schema)
    return schema


async def _run(admin: Any, script: str) -> None:
    """Run a script; the data of COPY travels by the protocol for it."""
    start = 0
    for match in _COPY.finditer(script):
        await admin.execute(script[start : match.start()])
        data = io.BytesIO(match.group(2).encode())
        await admin._copy_in(match.group(1).rstrip(";"), data, timeout=None)
        start = match.end()
    await admin.execute(script[start:])


async def _succeeds(admin: Any, statement: str) -> bool:
    try:
        await admin.execute(statement)
    except Exception:  # noqa: BLE001 - whatever the reason, the server lacks it
        return False
    return True
