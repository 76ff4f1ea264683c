"""What the tables look like, and who may touch them."""

import pytest
from tests.integration.capabilities.identity.club import CLUB, Club

from bulkhead.engine.connections.claims import ANON, SERVICE, user
from bulkhead.engine.drivers.errors import CheckViolated, PermissionDenied
from bulkhead.engine.drivers.protocol import Login
from bulkhead.engine.ids import new_id
from bulkhead.engine.migrations.apply import apply
from bulkhead.engine.migrations.rollback import roll_back
from bulkhead.engine.system import System, migration_sets

COLUMNS = {
    "users": "instance_id id aud role email encrypted_password email_confirmed_at invited_at "
    "confirmation_token confirmation_sent_at recovery_token recovery_sent_at "
    "email_change_token_new email_change email_change_sent_at last_sign_in_at raw_app_meta_data "
    "raw_user_meta_data is_super_admin created_at updated_at phone phone_confirmed_at "
    "phone_change phone_change_token phone_change_sent_at confirmed_at "
    "email_change_token_current email_change_confirm_status banned_until reauthentication_token "
    "reauthentication_sent_at is_sso_user deleted_at is_anonymous",
    "identities": "provider_id user_id identity_data provider last_sign_in_at created_at "
    "updated_at email id",
    "sessions": "id user_id created_at updated_at factor_id aal not_after refreshed_at user_agent "
    "ip tag oauth_client_id refresh_token_hmac_key refresh_token_counter scopes",
    "refresh_tokens": "instance_id id token user_id revoked created_at updated_at parent "
    "session_id",
    "one_time_tokens": "id user_id token_type token_hash relates_to created_at updated_at "
    "code_hash failed_attempts flow_state_id",
    "flow_state": "id user_id auth_code code_challenge_method code_challenge provider_type "
    "provider_access_token provider_refresh_token created_at updated_at authentication_method "
    "auth_code_issued_at invite_token referrer oauth_client_state_id linking_target_id "
    "email_optional",
    "mfa_factors": "id user_id friendly_name factor_type status created_at updated_at secret phone "
    "last_challenged_at web_authn_credential web_authn_aaguid last_webauthn_challenge_data "
    "last_used_step",
    "mfa_challenges": "id factor_id created_at verified_at ip_address otp_code "
    "web_authn_session_data failed_attempts",
    "mfa_amr_claims": "session_id created_at updated_at authentication_method id",
    "audit_log_entries": "instance_id id payload created_at ip_address",
}
"""In the order of Supabase; codes, factors and challenges have more at their ends."""
TABLES = [*(f"auth.{name}" for name in COLUMNS), "private.mail_queue", "private.rate_limits"]


@pytest.mark.parametrize("table", COLUMNS)
async def test_the_columns_are_those_of_supabase(club: Club, table: str) -> None:
    rows = await club.rows(
        "select attname from pg_attribute where attrelid = $1::text::regclass and attnum > 0 "
        "order by attnum",
        f"auth.{table}",
    )
    assert [row["attname"] for row in rows] == COLUMNS[table].split()


async def test_sql_that_casts_to_the_types_of_supabase_is_understood(club: Club) -> None:
    await club.member()
    found = await club.rows(
        "select s.aal from auth.sessions s where s.aal = 'aal1'::auth.aal_level and not exists ("
        "select from auth.mfa_factors f where f.status = 'verified'::auth.factor_status "
        "and f.factor_type = 'totp'::auth.factor_type)"
    )
    assert [row["aal"] for row in found] == ["aal1"]
    with pytest.raises(CheckViolated):
        await club.rows("select 'aal4'::auth.aal_level")


async def test_every_table_is_known_to_these_tests(club: Club) -> None:
    rows = await club.rows(
        "select n.nspname || '.' || c.relname as name from pg_class c join pg_namespace n "
        "on n.oid = c.relnamespace where c.relkind = 'r' and n.nspname in ('auth', 'private')"
    )
    assert {row["name"] for row in rows} == set(TABLES)


@pytest.mark.parametrize("table", TABLES)
async def test_clients_touch_nothing(club: Club, table: str) -> None:
    rights = await club.rows(
        "select relrowsecurity, relforcerowsecurity from pg_class where oid = $1::text::regclass",
        table,
    )
    assert all(rights[0].values())
    statements = (
        f"select 1 from {table}",
        f"delete from {table}",
        f"insert into {table} default values",
        f"truncate {table}",
    )
    for claims in (ANON, user(new_id())):
        for statement in statements:
            with pytest.raises(PermissionDenied):
                async with club.identity.users.transaction(claims) as tx:
                    await tx.execute(statement)


async def test_two_spellings_of_an_address_are_one(club: Club) -> None:
    await club.browser.sign_up()
    async with club.identity.users.transaction(SERVICE) as tx:
        found = await tx.fetchval(
            "insert into auth.users (id, email) values ($1, 'ADA@Example.com') "
            "on conflict do nothing returning id",
            new_id(),
        )
    assert found is None


async def test_confirmed_at_follows_the_first_confirmation(club: Club) -> None:
    await club.member()
    row = (await club.rows("select confirmed_at, email_confirmed_at from auth.users"))[0]
    assert row["confirmed_at"] == row["email_confirmed_at"] is not None


async def test_the_migrations_go_down_and_up_again(system: System) -> None:
    placement = system.router.placements[0]
    spec = placement.spec
    connection = await placement.driver.connect(spec, Login.ADMIN, timeout_s=5.0)
    sets = migration_sets(CLUB, "users")
    try:
        await roll_back(connection, spec, sets, {"club": 0, "identity": 0})
        assert await connection.fetchval("select to_regclass('auth.users')") is None
        await apply(connection, spec, sets)
        assert await connection.fetchval("select to_regclass('auth.users')") is not None
    finally:
        await connection.close()
