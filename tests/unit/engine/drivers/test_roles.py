from dataclasses import replace

import pytest

from bulkhead.engine.drivers.errors import RoleForeign
from bulkhead.engine.drivers.protocol import DatabaseSpec, Login
from bulkhead.engine.drivers.roles import (
    LOG_SETTINGS,
    SETTINGS,
    RoleState,
    ServerState,
    mark,
    plan_roles,
)
from bulkhead.engine.drivers.secret import Secret

SECRET = Secret(bytes(32))
SPEC = DatabaseSpec("shop")
SUPERUSER = RoleState("postgres", is_superuser=True)
LIMITED = RoleState("limited")
MARK = mark(SECRET)


def plan(state: ServerState) -> list[str]:
    return [statement.sql for statement in plan_roles(SPEC, state, "server", SECRET)]


def complete(admin: RoleState = SUPERUSER) -> ServerState:
    settings = {**SETTINGS, **(LOG_SETTINGS if admin.is_superuser else {})}
    pairs = frozenset(f"{name}={value}" for name, value in settings.items())
    roles = [
        RoleState("anon"),
        RoleState("authenticated"),
        RoleState("service_role", bypasses_rls=True),
        RoleState(SPEC.owner, mark=MARK),
        RoleState(
            SPEC.login(Login.CLIENT),
            mark=MARK,
            member_of=frozenset({"anon", "authenticated"}),
            settings=pairs,
        ),
        RoleState(
            SPEC.login(Login.SERVICE),
            mark=MARK,
            member_of=frozenset({"service_role"}),
            settings=pairs,
        ),
    ]
    return ServerState(180000, admin, {role.name: role for role in roles})


def changed(role: RoleState) -> ServerState:
    state = complete()
    return replace(state, roles={**state.roles, role.name: role})


def test_nothing_is_planned_where_nothing_is_missing() -> None:
    assert plan(complete()) == []


def test_everything_is_planned_for_an_empty_server() -> None:
    statements = plan(ServerState(180000, SUPERUSER))
    created = [sql.split()[2].strip('"') for sql in statements if sql.startswith("create role")]
    assert created == [
        "anon",
        "authenticated",
        "service_role",
        "shop_owner",
        "shop_client",
        "shop_service",
    ]
    assert 'grant service_role to "shop_client"' not in statements
    assert sum(sql.startswith("comment on role") for sql in statements) == 3


def test_no_plain_password_is_planned() -> None:
    text = " ".join(plan(ServerState(180000, SUPERUSER)))
    assert "SCRAM-SHA-256$" in text
    for login in (Login.CLIENT, Login.SERVICE):
        assert SECRET.password(SPEC.login(login)) not in text


def test_only_a_superuser_sets_what_only_a_superuser_may() -> None:
    assert any("log_statement" in sql for sql in plan(ServerState(180000, SUPERUSER)))
    assert not any("log_statement" in sql for sql in plan(ServerState(180000, LIMITED)))


def test_a_lost_membership_and_a_lost_setting_come_back() -> None:
    role = complete().roles["shop_client"]
    lost = replace(
        role,
        member_of=frozenset({"anon"}),
        settings=role.settings - {"statement_timeout=8s"},
    )
    assert plan(changed(lost)) == [
        'grant authenticated to "shop_client"',
        "alter role \"shop_client\" set statement_timeout = '8s'",
    ]


def test_a_service_role_without_its_right_gets_it() -> None:
    assert plan(changed(RoleState("service_role"))) == ["alter role service_role bypassrls"]


def test_an_administrator_with_few_rights_joins_our_roles() -> None:
    expected = [
        f'grant "{name}" to current_user with inherit true, set true'
        for name in ("shop_owner", "shop_client", "shop_service")
    ]
    assert plan(complete(LIMITED)) == expected
    member = replace(LIMITED, member_of=frozenset({"shop_owner", "shop_client", "shop_service"}))
    assert plan(complete(member)) == []
    old = replace(complete(LIMITED), version=150000)
    assert plan(old)[0] == 'grant "shop_owner" to current_user'


@pytest.mark.parametrize("name", ["shop_owner", "shop_client", "shop_service"])
def test_a_role_that_we_did_not_make_is_refused(name: str) -> None:
    role = complete().roles[name]
    with pytest.raises(RoleForeign, match="something else made it"):
        plan(changed(replace(role, mark=None)))
    with pytest.raises(RoleForeign, match=r"another secret\.key"):
        plan(changed(replace(role, mark="bulkhead 0000000000000000")))
