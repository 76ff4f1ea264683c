"""Supabase's cloud: an organization in which each database is a project of its own.

The Management API makes and deletes projects (`supabase_project.py`); everything else is done in
their databases, as on any PostgreSQL whose administrator is no superuser. Serving needs no API:
whoever knows a project's reference (`DatabaseSpec.located`) connects to its host.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, Final

import asyncpg

from bulkhead.engine import failpoints
from bulkhead.engine.clock import monotonic_s
from bulkhead.engine.drivers.bootstrap import LOCK_KEY, ensure_roles, quote_name, render
from bulkhead.engine.drivers.endpoint import Endpoint, Session, Tls
from bulkhead.engine.drivers.errors import (
    FAILURES,
    CapabilityMissing,
    DatabaseForeign,
    DatabaseMissing,
    LoginRefused,
    ServerUnreachable,
    translate,
)
from bulkhead.engine.drivers.foreign import open_foreign
from bulkhead.engine.drivers.probe import probe_database
from bulkhead.engine.drivers.protocol import Capabilities, DatabaseSpec, Dialect, Login
from bulkhead.engine.drivers.roles import mark, read_state
from bulkhead.engine.drivers.secret import Secret
from bulkhead.engine.drivers.supabase_api import ProjectUnknown
from bulkhead.engine.drivers.supabase_project import (
    ADMINISTRATOR,
    CA_FILE,
    Account,
    DatabaseComing,
    Place,
    Projects,
    SupabaseAccess,
)
from bulkhead.engine.egress import HostRefused, Service, Target
from bulkhead.engine.egress.guard import HostUnreachable

DATABASE: Final = "postgres"
CONNECT_TIMEOUT_S: Final = 10.0
COMMAND_TIMEOUT_S: Final = 120.0
READY_TIMEOUT_S: Final = 1800.0

ROLES_MADE: Final = failpoints.register("supabase.database:roles_made")
FILLED: Final = failpoints.register("supabase.database:filled")

_END_SESSIONS: Final = """
select pg_terminate_backend(pid)
from pg_stat_activity
where usename = any ($1::text[])
"""


class SupabaseDriver:
    """An organization of Supabase's; implements `Provider`.

    Each database is a project, of which only the database `postgres` is used, so there are no
    clones. `postgres` there is no superuser. Opens connections of its own and keeps none.
    """

    def __init__(self, access: SupabaseAccess, account: Account, secret: bytes | Secret) -> None:
        """Connects to nothing."""
        self.access = access
        self._secret = secret if isinstance(secret, Secret) else Secret(secret)
        self.projects = Projects(access.api(account.token), account, self._secret)

    @property
    def server(self) -> str:
        """The organization."""
        return self.projects.server

    @property
    def dialect(self) -> Dialect:
        """PostgreSQL's."""
        return Dialect.POSTGRESQL

    def server_of(self, spec: DatabaseSpec) -> str:
        """The host of the project, so that one that is away slows no other."""
        place = self.projects.known_place(spec)
        if place is None:
            return f"{self.server}/{spec.name}"
        host = self.access.host_of(place)
        return f"{place.ref}@{host}" if place.pooler else f"{host}:{self.access.port}"

    async def start(self) -> None:
        """Check that the token leads to the organization; raises what `ManagementApi` raises."""
        await self.projects.api.verify_organization(self.projects.account.organization)

    async def stop(self) -> None:
        """Do nothing: nothing is ours to stop."""

    async def begin_database(self, spec: DatabaseSpec) -> None:
        """Have the project made, without waiting for it.

        Raises DatabaseComing while it is not up, DatabaseForeign, ProjectFailed, and what
        `ManagementApi` raises.
        """
        status = await self.projects.begin(spec)
        if status is not None:
            raise self._coming(status)

    async def ensure_database(self, spec: DatabaseSpec) -> None:
        """Make the project, wait until it is up, and create what is missing inside.

        Raises DatabaseComing when it is not up within half an hour, or cannot be reached yet,
        besides what `begin_database` raises; RoleForeign, CapabilityMissing.
        """
        deadline_s = monotonic_s() + READY_TIMEOUT_S
        while (status := await self.projects.begin(spec)) is not None:
            if monotonic_s() > deadline_s:
                raise self._coming(status)
            await asyncio.sleep(self.access.poll_s)
        try:
            await self._let_in(spec)
            async with self._administer(spec) as admin:
                await ensure_roles(admin, self.server_of(spec), spec, self._secret)
                await failpoints.reach(ROLES_MADE)
                await self._fill(admin, spec)
        except (ServerUnreachable, HostUnreachable) as error:
            raise self._coming("its database cannot be reached yet") from error
        await failpoints.reach(FILLED)

    async def drop_database(self, spec: DatabaseSpec) -> None:
        """Delete the project; nothing happens when there is none. Raises DatabaseForeign."""
        doomed = {each.ref for each in await self.projects.list_ours(spec)}
        place = self.projects.known_place(spec) if spec.located else None
        if place is not None and place.ref not in doomed:
            doomed |= await self._find_renamed(spec, place.ref)
        await self.projects.delete(doomed, spec)

    async def locate(self, spec: DatabaseSpec) -> str:
        """The reference of the project, with the pooler where it is reached through that.

        Raises DatabaseMissing.
        """
        return str(await self.projects.find_place(spec))

    async def address_of(self, spec: DatabaseSpec) -> str:
        """An address of the project's host that may be connected to.

        Raises DatabaseMissing, ServerUnreachable.
        """
        return (await self._check(await self.projects.find_place(spec))).address

    async def seal_template(self, spec: DatabaseSpec, *, sealed: bool = True) -> None:
        """Let the two logins in no more, or let them in again; nothing is cloned here."""
        logins = [spec.login(login) for login in (Login.CLIENT, Login.SERVICE)]
        async with self._administer(spec) as admin:
            for name in logins:
                await admin.execute(
                    f"alter role {quote_name(name)} {'nologin' if sealed else 'login'}"
                )
            if sealed:
                await admin.execute(_END_SESSIONS, logins)

    async def probe(self, spec: DatabaseSpec) -> Capabilities:
        """Try what the database can do; clones could be made, but Supabase would not serve them."""

        async def connect() -> Any:  # noqa: ANN401
            return await self.connect(spec, Login.CLIENT, timeout_s=CONNECT_TIMEOUT_S)

        async with self._administer(spec) as admin, self._administer(spec) as other:
            client = await connect()
            try:
                found = await probe_database(admin, other, client, spec, connect)
            finally:
                client.terminate()
        return replace(found, template_clone=False)

    async def connect(self, spec: DatabaseSpec, login: Login, *, timeout_s: float) -> Any:  # noqa: ANN401
        """Open an asyncpg connection, whose every message is checked.

        Raises ServerUnreachable, LoginRefused, DatabaseMissing, TooManyConnections, TlsRequired.
        """
        place = await self.projects.find_place(spec)
        target = await self._check(place)
        session = self._session(spec, login, place)
        try:
            raw = await open_foreign(target, session, self.access.trust, timeout_s=timeout_s)
        except LoginRefused as error:
            if login is not Login.ADMIN and _is_sealed(error):
                reason = f"database '{spec.name}' is sealed"
                raise ServerUnreachable(server=self.server_of(spec), reason=reason) from error
            raise
        if place.pooler is not None:
            await _begin_anew(raw, timeout_s)
        return raw

    def url(self, spec: DatabaseSpec, login: Login) -> str:
        """A libpq URL for other programs; holds the password.

        Raises DatabaseMissing for a project that this process has not met and that nobody located.
        """
        place = self.projects.known_place(spec)
        if place is None:
            raise DatabaseMissing(server=self.server, database=spec.name)
        access, session = self.access, self._session(spec, login, place)
        endpoint = Endpoint(
            access.host_of(place), access.port, session.user, session.password, DATABASE
        )
        ca_file = CA_FILE if access.tls in {Tls.VERIFY_CA, Tls.VERIFY_FULL} else None
        return replace(endpoint, tls=access.tls, ca_file=ca_file).url(session)

    async def _check(self, place: Place) -> Target:
        host, port = self.access.host_of(place), self.access.port
        try:
            return await self.access.egress.check(host, port, Service.POSTGRESQL)
        except HostRefused:
            # It is Supabase's, so its name is not known yet, or not any more.
            raise ServerUnreachable(
                server=f"{host}:{port}", reason="its name leads nowhere"
            ) from None

    def _coming(self, status: str) -> DatabaseComing:
        return DatabaseComing(status=status, wait_s=self.access.poll_s)

    def _session(self, spec: DatabaseSpec, login: Login, place: Place) -> Session:
        if login is Login.ADMIN:
            password = self.projects.password(spec).reveal()
            return Session(place.login(ADMINISTRATOR), password, DATABASE)
        role = spec.login(login)
        return Session(place.login(role), self._secret.password(role), DATABASE)

    async def _find_renamed(self, spec: DatabaseSpec, ref: str) -> set[str]:
        """A project that the registry knows, but whose name was changed: its roles say whose."""
        try:
            await self.projects.api.get_project(ref)
        except ProjectUnknown:
            return set()
        owner = None
        try:
            async with self._administer(spec) as admin:
                owner = (await read_state(admin, spec)).roles.get(spec.owner)
        except LoginRefused:
            pass
        if owner is None or owner.mark != mark(self._secret):
            reason = "its name was changed, and its roles are not ours"
            raise DatabaseForeign(server=self.server, database=spec.name, reason=reason)
        return {ref}

    async def _let_in(self, spec: DatabaseSpec) -> None:
        """Find a way to the database: its own host, else the pooler.

        A project's own host has an IPv6 address only, as a rule, which not every machine can reach.
        """
        try:
            await self._knock(spec)
        except HostUnreachable:
            await self.projects.take_pooler(spec)
            try:
                await self._knock(spec)
            except (ServerUnreachable, HostUnreachable):
                self.projects.leave_pooler(spec)
                raise

    async def _knock(self, spec: DatabaseSpec) -> None:
        """Have the password of `postgres` be ours: somebody may have set another one."""
        try:
            connection = await self.connect(spec, Login.ADMIN, timeout_s=CONNECT_TIMEOUT_S)
        except LoginRefused:
            place = await self.projects.find_place(spec)
            await self.projects.api.set_password(place.ref, self.projects.password(spec))
            connection = await self.connect(spec, Login.ADMIN, timeout_s=CONNECT_TIMEOUT_S)
        connection.terminate()

    async def _fill(self, admin: Any, spec: DatabaseSpec) -> None:  # noqa: ANN401
        rows = await admin.fetch("select name, installed_version from pg_available_extensions")
        available = {row["name"]: row["installed_version"] is not None for row in rows}
        for extension in spec.extensions:
            if extension not in available:
                raise CapabilityMissing(
                    server=self.server_of(spec),
                    capability=f"the extension '{extension}'",
                    remedy="Choose another extension: Supabase decides which there are.",
                )
        names = {
            "owner": spec.owner,
            "client": spec.login(Login.CLIENT),
            "service": spec.login(Login.SERVICE),
        }
        script = [f"select pg_advisory_xact_lock({LOCK_KEY})"]
        script.append(render("supabase_database.sql", **names))
        wanted = dict.fromkeys([*spec.extensions, *({"uuid-ossp"} & available.keys())])
        script += [
            f"create extension if not exists {quote_name(name)} schema extensions"
            for name in wanted
            if not available[name]
        ]
        await admin.execute(";".join(script), timeout=COMMAND_TIMEOUT_S)
        sql = "select has_schema_privilege($1, 'public', 'create')"
        if not await admin.fetchval(sql, spec.owner):
            raise CapabilityMissing(
                server=self.server_of(spec),
                capability="the right to let others create tables in schema 'public'",
                remedy="Run in the project: alter schema public owner to postgres;",
            )

    @asynccontextmanager
    async def _administer(self, spec: DatabaseSpec) -> AsyncIterator[Any]:
        connection = await self.connect(spec, Login.ADMIN, timeout_s=CONNECT_TIMEOUT_S)
        try:
            yield connection
        except FAILURES as error:
            raise translate(error) from error
        finally:
            connection.terminate()


async def _begin_anew(raw: Any, timeout_s: float) -> None:  # noqa: ANN401
    """Forget what the session was before: a pooler may hand on one that has served somebody."""
    try:
        await raw.execute("discard all", timeout=timeout_s)
    except BaseException as error:
        raw.terminate()
        if isinstance(error, FAILURES):
            raise translate(error) from error
        raise


def _is_sealed(error: LoginRefused) -> bool:
    """Whether the role is there and the password right, but it may not log in at the moment."""
    cause = error.__cause__
    return (
        isinstance(cause, asyncpg.InvalidAuthorizationSpecificationError)
        and cause.sqlstate == "28000"
    )
