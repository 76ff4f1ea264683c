"""What every database of ours has: roles, rights, schemas and the functions policies use.

Written as a difference: the state is read first and only what is missing is done. So a repeat does
nothing, a half-made database is finished, and cloning a template touches no role. Advisory locks
that end with their transaction let several processes do this at once.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

import asyncpg

from bulkhead.engine.drivers.errors import (
    CapabilityMissing,
    DatabaseForeign,
    TemplateUnusable,
    translate,
)
from bulkhead.engine.drivers.protocol import DatabaseSpec, Login
from bulkhead.engine.drivers.roles import ServerState, Statement, mark, plan_roles, read_state
from bulkhead.engine.drivers.scram import ITERATIONS
from bulkhead.engine.drivers.secret import Secret

VERSION_MIN = 150000
"""PostgreSQL 15: security_invoker views, and no CREATE for everybody in `public`."""
VERSION_BUILTIN_LOCALE = 170000
SEARCH_PATH = "public, extensions"
PLANS_MAX = 10
"""How often to look again after others have made what was missing."""
LOCK_KEY = 0x62756C6B  # "bulk": one key, because these transactions take milliseconds.

_SCRIPTS = resources.files(__package__)
_PLACEHOLDER = re.compile(r""":(?:"(\w+)"|'(\w+)')""")


@dataclass(frozen=True, slots=True)
class DatabaseState:
    """What the server's catalogue says about a database."""

    owner: str
    mark: str | None = None
    is_sealed: bool = False
    """Whether it is a template to which nobody may connect."""
    rights_complete: bool = False
    """Whether both logins may connect, and nobody else."""
    settings: frozenset[str] = frozenset()


def render(file: str, **names: str) -> str:
    """Load a script; `:"name"` becomes an identifier and `:'name'` a literal, as in psql."""
    script = _SCRIPTS.joinpath(file).read_text(encoding="utf-8")

    def fill(match: re.Match[str]) -> str:
        identifier, literal = match.groups()
        return quote_name(names[identifier]) if identifier else quote_text(names[literal])

    return _PLACEHOLDER.sub(fill, script)


def quote_name(name: str) -> str:
    """Render an identifier."""
    return '"' + name.replace('"', '""') + '"'


def quote_text(text: str) -> str:
    """Render a literal."""
    return "'" + text.replace("'", "''") + "'"


async def ensure_roles(
    admin: Any,  # noqa: ANN401
    server: str,
    spec: DatabaseSpec,
    secret: Secret,
    iterations: int = ITERATIONS,
) -> ServerState:
    """Create what is missing of the roles of `spec`; `admin` is connected to any database.

    `iterations` are those of the passwords of new logins.
    Raises RoleForeign, CapabilityMissing.
    """
    tries = 0
    while True:
        tries += 1
        state = await read_state(admin, spec)
        if state.version < VERSION_MIN:
            raise CapabilityMissing(
                server=server, capability="PostgreSQL 15 or later", remedy="Upgrade the server."
            )
        plan = plan_roles(spec, state, server, secret, iterations)
        if not plan:
            return state
        try:
            await admin.execute(_at_once([statement.sql for statement in plan]))
        except asyncpg.DuplicateObjectError:
            if tries == PLANS_MAX:
                raise
            continue  # Another process has made one of them meanwhile.
        except asyncpg.InsufficientPrivilegeError:
            await _explain_refusal(admin, server, plan)
            raise
        return state


def _at_once(statements: Sequence[str]) -> str:
    """All of them in one message, which the server runs as one transaction, under the lock."""
    return ";".join([f"select pg_advisory_xact_lock({LOCK_KEY})", *statements])


async def _explain_refusal(admin: Any, server: str, plan: Sequence[Statement]) -> None:  # noqa: ANN401
    """Run what was refused once more, one by one and for nothing, to learn what was refused."""
    transaction = admin.transaction()
    await transaction.start()
    try:
        for statement in plan:
            try:
                await admin.execute(statement.sql)
            except asyncpg.InsufficientPrivilegeError as error:
                raise CapabilityMissing(
                    server=server, capability=statement.purpose, remedy=statement.remedy
                ) from error
    finally:
        await transaction.rollback()  # shape: commit - nothing of it shall stay


async def ensure_database(
    admin: Any,  # noqa: ANN401
    server: str,
    spec: DatabaseSpec,
    secret: Secret,
    version: int,
) -> bool:
    """Create the database where it is missing, with its rights and its mark.

    Returns whether everything inside is there already: in a clone, and in a sealed template.
    Raises DatabaseForeign, TemplateUnusable.
    """
    complete = False
    state = await find_database(admin, spec)
    if state is None:
        if await _create(admin, server, spec, version):
            complete, state = spec.template is not None, DatabaseState(spec.owner)
        else:
            state = await find_database(admin, spec)
            assert state is not None, "a database that was created meanwhile is there"
    verify_ours(state, server, spec, secret)
    # Whoever else finds the same missing does the same, which may be done twice.
    if missing := plan_database(spec, state, secret):
        await admin.execute(_at_once(missing))
    return complete or state.is_sealed


async def ensure_contents(admin: Any, server: str, spec: DatabaseSpec) -> None:  # noqa: ANN401
    """Create what is missing inside; `admin` is connected to the database itself.

    Raises CapabilityMissing for an extension that the server does not have.
    """
    rows = await admin.fetch("select name, installed_version from pg_available_extensions")
    available = {row["name"]: row["installed_version"] is not None for row in rows}
    for extension in spec.extensions:
        if extension not in available:
            raise CapabilityMissing(
                server=server,
                capability=f"the extension '{extension}'",
                remedy="Install the package with it on the server.",
            )
    script = [render("database.sql", owner=spec.owner)]
    if "uuid-ossp" not in available:
        script.append(render("uuid_shim.sql", owner=spec.owner))
    wanted = dict.fromkeys([*spec.extensions, *({"uuid-ossp"} & available.keys())])
    script += [
        f"create extension if not exists {quote_name(name)} schema extensions"
        for name in wanted
        if not available[name]
    ]
    if await admin.fetchval("select rolsuper from pg_roles where rolname = current_user"):
        # Elsewhere changes are told by migrations, and found by looking.
        script.append(render("schema_watch.sql"))
    await admin.execute(_at_once(script))


async def find_database(admin: Any, spec: DatabaseSpec) -> DatabaseState | None:  # noqa: ANN401
    """Read the state of the database, None when there is none."""
    row: Mapping[str, Any] | None = await admin.fetchrow(
        render("database_state.sql"),
        spec.name,
        [spec.login(Login.CLIENT), spec.login(Login.SERVICE)],
    )
    if row is None:
        return None
    return DatabaseState(
        owner=row["owner"],
        mark=row["mark"],
        is_sealed=row["is_sealed"],
        rights_complete=row["rights_complete"],
        settings=frozenset(row["settings"]),
    )


def verify_ours(state: DatabaseState, server: str, spec: DatabaseSpec, secret: Secret) -> None:
    """Raise DatabaseForeign unless Bulkhead, with this secret, made the database.

    Between its creation and its mark, a database is known by its owner, which is marked already.
    """
    if state.mark == mark(secret) or (state.mark is None and state.owner == spec.owner):
        return
    reason = "something else made it"
    if state.mark is not None and state.mark.startswith("bulkhead "):
        reason = "it was made with another secret.key"
    raise DatabaseForeign(server=server, database=spec.name, reason=reason)


def plan_database(spec: DatabaseSpec, state: DatabaseState, secret: Secret) -> list[str]:
    """What is missing around the database, as statements."""
    name = quote_name(spec.name)
    logins = ", ".join(quote_name(spec.login(login)) for login in (Login.CLIENT, Login.SERVICE))
    statements = []
    if not state.rights_complete:
        statements += [
            f"revoke all on database {name} from public",
            f"grant connect on database {name} to {logins}",
        ]
    if f"search_path={SEARCH_PATH}" not in state.settings:
        statements.append(f"alter database {name} set search_path = {SEARCH_PATH}")
    if state.mark is None:
        statements.append(f"comment on database {name} is {quote_text(mark(secret))}")
    return statements


async def _create(admin: Any, server: str, spec: DatabaseSpec, version: int) -> bool:  # noqa: ANN401
    """Create the database; False when another process was faster."""
    found = await admin.fetchrow(
        "select current_setting('fsync')::boolean as syncs, (select pg_get_userbyid(datdba)"
        " from pg_database where datname = $1) as owner",
        spec.template,
    )
    if spec.template is not None:
        _verify_template(server, spec, found["owner"])
        source = f"template {quote_name(spec.template)}"
    elif version >= VERSION_BUILTIN_LOCALE:
        source = (
            "template template0 encoding 'UTF8' locale_provider builtin builtin_locale 'C.UTF-8'"
        )
    else:
        source = "template template0 encoding 'UTF8' lc_collate 'C'"
    # Copying files takes two checkpoints, which cost less than the log if nothing is synced.
    strategy = "wal_log" if found["syncs"] else "file_copy"
    try:
        await admin.execute(
            f"create database {quote_name(spec.name)} owner {quote_name(spec.owner)}"
            f" {source} strategy {strategy}"
        )
    except (asyncpg.DuplicateDatabaseError, asyncpg.UniqueViolationError):
        return False
    except asyncpg.ObjectInUseError as error:
        raise TemplateUnusable(
            database=spec.name, template=spec.template, reason="somebody is connected to it"
        ) from error
    except asyncpg.InsufficientPrivilegeError as error:
        raise CapabilityMissing(
            server=server,
            capability="the right to create databases",
            remedy="Give the role of the DSN CREATEDB.",
        ) from error
    except asyncpg.PostgresError as error:
        raise translate(error) from error
    return True


def _verify_template(server: str, spec: DatabaseSpec, owner: str | None) -> None:
    """Pass for a template whose contents the clone's owner may have; raises TemplateUnusable.

    `owner` is the template's, None where there is no such database.
    """
    if owner == spec.owner:
        return
    if owner is None:
        reason = f"there is no such database on {server}"
    else:
        prefix = owner.removesuffix("_owner")
        reason = f"what is in it belongs to '{owner}', so give the clone role_prefix='{prefix}'"
    raise TemplateUnusable(database=spec.name, template=spec.template, reason=reason)
