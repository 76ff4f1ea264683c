"""The roles of a server and of one database: what is, what should be, and the difference."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

from bulkhead.engine.drivers.errors import RoleForeign
from bulkhead.engine.drivers.protocol import DatabaseSpec, Login
from bulkhead.engine.drivers.scram import ITERATIONS, scram_verifier
from bulkhead.engine.drivers.secret import Secret

VERSION_MEMBERSHIP_OPTIONS = 160000
SHARED = ("anon", "authenticated", "service_role")
MEMBERSHIPS: Mapping[Login, tuple[str, ...]] = {
    Login.CLIENT: ("anon", "authenticated"),
    Login.SERVICE: ("service_role",),
}
SETTINGS: Mapping[str, str] = {
    "statement_timeout": "8s",
    "lock_timeout": "5s",
    "idle_in_transaction_session_timeout": "15s",
    # Else the statement of a client that has gone keeps its locks until it ends.
    "client_connection_check_interval": "500ms",
    "jit": "off",
}
LOG_SETTINGS: Mapping[str, str] = {
    "log_min_error_statement": "panic",
    "log_parameter_max_length": "0",
    "log_statement": "none",
    "log_min_duration_statement": "-1",
}
"""Only a superuser may set these. They keep values of users, which stand in the statements that
begin and end a transaction, out of the server's log."""

_STATE = resources.files(__package__).joinpath("role_state.sql").read_text(encoding="utf-8")


@dataclass(frozen=True, slots=True)
class RoleState:
    """What the catalogue says about a role."""

    name: str
    is_superuser: bool = False
    bypasses_rls: bool = False
    mark: str | None = None
    member_of: frozenset[str] = frozenset()
    settings: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class ServerState:
    """The administrator, the server's version and those of the wanted roles that exist."""

    version: int
    admin: RoleState
    roles: Mapping[str, RoleState] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement of a plan and what its failure for lack of rights means."""

    sql: str
    purpose: str
    remedy: str


def mark(secret: Secret) -> str:
    """The comment by which a database or a role is known as ours, made with this secret."""
    return f"bulkhead {secret.fingerprint}"


async def read_state(admin: Any, spec: DatabaseSpec) -> ServerState:  # noqa: ANN401
    """Read the administrator and the roles of `spec`."""
    wanted = [*SHARED, spec.owner, spec.login(Login.CLIENT), spec.login(Login.SERVICE)]
    found = {row["name"]: row for row in await admin.fetch(_STATE, wanted)}
    admin_row = next(row for row in found.values() if row["is_admin"])
    roles = {name: _role(found[name]) for name in wanted if name in found}
    return ServerState(admin_row["version"], _role(admin_row), roles)


def plan_roles(
    spec: DatabaseSpec,
    state: ServerState,
    server: str,
    secret: Secret,
    iterations: int = ITERATIONS,
) -> list[Statement]:
    """What is missing of the roles of `spec`; raises RoleForeign.

    `iterations` are those of the passwords of logins that are created.
    """
    plan = _plan_shared(state)
    plan += _plan_owner(spec.owner, state, server, secret)
    for login in MEMBERSHIPS:
        plan += _plan_login(spec.login(login), login, state, server, secret, iterations)
    return plan


def _plan_shared(state: ServerState) -> list[Statement]:
    plan = [
        _creates(f"create role {name} nologin noinherit")
        for name in ("anon", "authenticated")
        if name not in state.roles
    ]
    remedy = (
        "Have a superuser run: create role service_role nologin noinherit bypassrls; "
        "grant service_role to <the role of the DSN> with admin option;"
    )
    service = state.roles.get("service_role")
    purpose = "a role 'service_role' with BYPASSRLS"
    if service is None:
        create = "create role service_role nologin noinherit bypassrls"
        plan.append(Statement(create, purpose, remedy))
    elif not (service.bypasses_rls or service.is_superuser):
        plan.append(Statement("alter role service_role bypassrls", purpose, remedy))
    return plan


def _plan_owner(name: str, state: ServerState, server: str, secret: Secret) -> list[Statement]:
    plan = []
    role = state.roles.get(name)
    if role is None:
        # It inherits, because that is how the owner of a database owns the schema `public`.
        plan += [_creates(f'create role "{name}" nologin'), _marks(name, secret)]
    else:
        _verify_ours(role, server, secret)
    return plan + _plan_administration(name, state)


def _plan_login(
    name: str, login: Login, state: ServerState, server: str, secret: Secret, iterations: int
) -> list[Statement]:
    plan = []
    role = state.roles.get(name)
    if role is None:
        role = RoleState(name)
        verifier = scram_verifier(secret.password(name), iterations=iterations)
        plan += [
            _creates(f"create role \"{name}\" login noinherit password '{verifier}'"),
            _marks(name, secret),
        ]
    else:
        _verify_ours(role, server, secret)
    for shared in MEMBERSHIPS[login]:
        if shared not in role.member_of:
            plan.append(
                Statement(
                    f'grant {shared} to "{name}"',
                    f"the right to grant '{shared}'",
                    f"Have a superuser run: grant {shared} to <the role of the DSN> "
                    "with admin option;",
                )
            )
    settings = {**SETTINGS, **LOG_SETTINGS} if state.admin.is_superuser else SETTINGS
    for setting, value in settings.items():
        if f"{setting}={value}" not in role.settings:
            plan.append(_creates(f"alter role \"{name}\" set {setting} = '{value}'"))
    return plan + _plan_administration(name, state)


def _plan_administration(name: str, state: ServerState) -> list[Statement]:
    """Let an administrator who is no superuser act as the role, and end its sessions."""
    if state.admin.is_superuser or name in state.admin.member_of:
        return []
    new = state.version >= VERSION_MEMBERSHIP_OPTIONS
    options = " with inherit true, set true" if new else ""
    return [_creates(f'grant "{name}" to current_user{options}')]


def _verify_ours(role: RoleState, server: str, secret: Secret) -> None:
    if role.mark == mark(secret):
        return
    reason = "something else made it"
    if role.mark is not None and role.mark.startswith("bulkhead "):
        reason = "it was made with another secret.key"
    raise RoleForeign(server=server, role=role.name, reason=reason)


def _creates(sql: str) -> Statement:
    return Statement(
        sql, "the right to create roles", "Give the role of the DSN CREATEROLE and CREATEDB."
    )


def _marks(name: str, secret: Secret) -> Statement:
    return _creates(f"comment on role \"{name}\" is '{mark(secret)}'")


def _role(row: Mapping[str, Any]) -> RoleState:
    return RoleState(
        name=row["name"],
        is_superuser=row["is_superuser"],
        bypasses_rls=row["bypasses_rls"],
        mark=row["mark"],
        member_of=frozenset(row["member_of"]),
        settings=frozenset(row["settings"]),
    )
