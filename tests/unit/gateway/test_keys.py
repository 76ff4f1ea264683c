import base64
import hashlib
import re

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.engine.connections.claims import Role
from bulkhead.engine.drivers.secret import Secret
from bulkhead.gateway.keys import DatabaseKeys, KeyKind, Series, derive_keys

SECRET = Secret(bytes(range(32)))
OPAQUE = re.compile(r"sb_(publishable|secret)_[A-Za-z0-9_-]{22}_[A-Za-z0-9_-]{8}")


def keys_of(
    application: str = "commerce", database: str = "orders", **series: Series
) -> DatabaseKeys:
    return derive_keys(
        SECRET, application, database, {KeyKind(kind): each for kind, each in series.items()}
    )


def texts(keys: DatabaseKeys) -> set[str]:
    return {key.text for key in keys.keys}


def test_a_database_has_a_publishable_a_secret_and_two_legacy_keys() -> None:
    found = [(key.kind, key.role, key.is_current) for key in keys_of().keys]
    assert found == [
        (KeyKind.PUBLISHABLE, Role.ANON, True),
        (KeyKind.SECRET, Role.SERVICE, True),
        (KeyKind.JWT, Role.ANON, True),
        (KeyKind.JWT, Role.SERVICE, True),
    ]


def test_opaque_keys_have_the_form_and_the_checksum_of_supabase() -> None:
    for kind, role in ((KeyKind.PUBLISHABLE, Role.ANON), (KeyKind.SECRET, Role.SERVICE)):
        text = keys_of().current(kind, role)
        assert OPAQUE.fullmatch(text)
        assert text.startswith(f"sb_{kind.value}_")
        stem, checksum = text[:-9], text[-8:]
        digest = hashlib.sha256(f"commerce-orders|{stem}".encode()).digest()
        assert checksum == base64.urlsafe_b64encode(digest).decode()[:8]


def test_legacy_keys_are_tokens_for_their_role_signed_with_the_secret_of_the_database() -> None:
    keys = keys_of()
    for role in (Role.ANON, Role.SERVICE):
        text = keys.current(KeyKind.JWT, role)
        payload = jwt.decode(text, keys.jwt_secrets[0], algorithms=["HS256"])
        assert payload["role"] == role.value
        assert payload["ref"] == "commerce-orders"
        assert payload["exp"] - payload["iat"] > 10 * 365 * 86_400


def test_keys_follow_from_the_secret_and_differ_for_everything_else() -> None:
    assert texts(keys_of()) == texts(keys_of())
    others = [
        keys_of(database="products"),
        keys_of(application="club"),
        derive_keys(Secret(bytes(32)), "commerce", "orders", {}),
    ]
    for other in others:
        assert not texts(other) & texts(keys_of())
        assert not set(other.jwt_secrets) & set(keys_of().jwt_secrets)


def test_a_rotated_kind_has_a_new_current_key_and_keeps_the_former_one() -> None:
    before = keys_of()
    after = keys_of(secret=Series().rotated())
    former = before.current(KeyKind.SECRET, Role.SERVICE)
    assert after.current(KeyKind.SECRET, Role.SERVICE) != former
    assert after.claims[former.encode()].role == Role.SERVICE
    assert after.current(KeyKind.PUBLISHABLE, Role.ANON) == before.current(
        KeyKind.PUBLISHABLE, Role.ANON
    )


def test_a_revoked_key_is_known_no_more() -> None:
    former = keys_of().current(KeyKind.JWT, Role.ANON)
    after = keys_of(jwt=Series().rotated().revoked(0))
    assert former.encode() not in after.claims
    assert len(after.jwt_secrets) == 1


def test_a_key_never_shows_in_its_representation() -> None:
    keys = keys_of()
    shown = repr(keys)
    assert not [text for text in texts(keys) | set(keys.jwt_secrets) if text in shown]


@given(st.lists(st.one_of(st.none(), st.integers(0, 12)), max_size=30))
def test_the_current_generation_is_never_revoked_and_no_number_comes_back(
    steps: list[int | None],
) -> None:
    series = Series()
    revoked: set[int] = set()
    for step in steps:
        if step is None:
            series = series.rotated()
        elif step in series.previous:
            series = series.revoked(step)
            revoked.add(step)
        else:
            with pytest.raises(ValueError, match=r"rotate first|not valid"):
                series.revoked(step)
        assert series.current == max(series.valid)
        assert len(set(series.valid)) == len(series.valid)
        assert not revoked & set(series.valid)
