"""Connections as their owners give them."""

import json
from typing import Any

import pytest

from bulkhead.apps.store_platform.fleet import DatabaseBody, ProjectPasswordNeeded, shown_of
from bulkhead.engine.errors import Invalid
from bulkhead.engine.fleet.model import ServerKind

FIELDS = {"host": "db.example", "database": "shop", "username": "me", "password": "canary-1f"}


def body(**fields: Any) -> DatabaseBody:
    return DatabaseBody.model_validate(fields)


def test_the_port_is_that_of_the_kind_and_certificates_are_verified() -> None:
    for kind, port in ((ServerKind.POSTGRESQL, 5432), (ServerKind.MYSQL, 3306)):
        config = body(**FIELDS).to_config(kind)
        assert (config.port, config.tls.value) == (port, "verify-full")
    assert body(**FIELDS, ssl=False).to_config(ServerKind.MYSQL).tls.value == "disable"
    assert body(**FIELDS, ssl=True).to_config(ServerKind.MYSQL).tls.value == "verify-full"


def test_a_supabase_project_needs_no_more_than_its_address_and_password() -> None:
    given = body(projectUrl="https://abcdef.supabase.co", serviceRoleKey="eyJ", password="p")  # noqa: S106
    config = given.to_config(ServerKind.SUPABASE)
    assert config.host == "db.abcdef.supabase.co"
    assert (config.username, config.database) == ("postgres", "postgres")
    assert config.service_role_key is not None


def test_a_supabase_project_without_its_password_says_where_that_is_set() -> None:
    given = body(projectUrl="https://abcdef.supabase.co", serviceRoleKey="canary-3f")
    with pytest.raises(ProjectPasswordNeeded) as caught:
        given.to_config(ServerKind.SUPABASE)
    assert "project/abcdef/database/settings" in caught.value.advice
    assert "canary" not in caught.value.message + caught.value.advice


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example",
        "https://a.b.supabase.co",
        "https://supabase.co",
        "x",
        "https://evil.example/.supabase.co",
        "https://@.supabase.co",
    ],
)
def test_another_address_is_no_supabase_project(url: str) -> None:
    with pytest.raises(Invalid):
        body(projectUrl=url, password="p").to_config(ServerKind.SUPABASE)  # noqa: S106


@pytest.mark.parametrize("missing", sorted(FIELDS))
def test_a_field_that_is_missing_is_told(missing: str) -> None:
    fields = {name: value for name, value in FIELDS.items() if name != missing}
    with pytest.raises(Invalid):
        body(**fields).to_config(ServerKind.POSTGRESQL)


def test_an_empty_key_of_a_project_is_taken_for_what_it_is() -> None:
    config = body(**FIELDS, serviceRoleKey="").to_config(ServerKind.POSTGRESQL)
    assert config.service_role_key is not None
    assert config.service_role_key.value == ""


def test_a_secret_is_neither_shown_nor_printed() -> None:
    given = body(**FIELDS, serviceRoleKey="canary-2f")
    config = given.to_config(ServerKind.POSTGRESQL)
    for text in (repr(given), str(given), json.dumps(shown_of(config)), repr(config)):
        assert "canary" not in text
