import datetime as dt
from functools import partial
from pathlib import Path
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.capabilities.identity.tokens.access import AccessTokens
from bulkhead.capabilities.identity.tokens.keyring import KeyRing
from bulkhead.engine.clock import now, stopped
from bulkhead.engine.connections.claims import Role
from bulkhead.engine.ids import derive_id
from bulkhead.engine.settings import Settings
from bulkhead.gateway.auth_service import _verify_audience
from bulkhead.gateway.credentials import (
    CACHE_MAX,
    ApiKeyAmbiguous,
    ApiKeyInvalid,
    ApiKeyMissing,
    Credentials,
    RoleNotServed,
    Users,
    without_service,
)
from bulkhead.gateway.keyring import ApiKeyRing, open_keyring
from bulkhead.gateway.keys import KeyKind
from bulkhead.gateway.rest.errors import JwtClaimsInvalid, JwtUndecodable

ISSUER = "http://test/commerce/auth/v1"
ADA = str(derive_id("test", "ada"))


class Shop:
    """An application with the keys of its databases and of its users' tokens."""

    def __init__(self, home: Path, application: str = "commerce") -> None:
        self.ring: ApiKeyRing = open_keyring(application, Settings(home=home))
        self.tokens = AccessTokens(
            KeyRing(home / "keys" / f"{application}.json"),
            ISSUER.replace("commerce", application),
        )
        self.users = Users(self.tokens.verify, lambda: self.tokens.keyring.keys)

    def credentials(self, database: str = "orders", **options: Any) -> Credentials:
        return Credentials(partial(self.ring.keys, database), self.users, **options)

    def key(
        self, kind: KeyKind = KeyKind.PUBLISHABLE, role: Role = Role.ANON, database: str = "orders"
    ) -> str:
        return self.ring.keys(database).current(kind, role)

    def token(self, ttl_s: int = 3600, **changes: Any) -> str:
        """An access token of a user."""
        at_s = int(now().timestamp())
        payload = {
            "iss": self.tokens.issuer,
            "sub": ADA,
            "aud": "authenticated",
            "role": "authenticated",
            "session_id": ADA,
            "iat": at_s,
            "exp": at_s + ttl_s,
            **changes,
        }
        key = self.tokens.keyring.keys.current
        return jwt.encode(payload, key.private, algorithm="ES256", headers={"kid": key.kid})

    def legacy(self, database: str = "orders", **payload: Any) -> str:
        return jwt.encode(payload, self.ring.keys(database).jwt_secrets[0], algorithm="HS256")


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


def sent(key: str = "", bearer: str | None = None) -> list[tuple[bytes, bytes]]:
    headers = [(b"host", b"test")]
    if key:
        headers.append((b"apikey", key.encode()))
    if bearer is not None:
        headers.append((b"authorization", f"Bearer {bearer}".encode()))
    return headers


@pytest.mark.parametrize(
    ("kind", "role"),
    [
        (KeyKind.PUBLISHABLE, Role.ANON),
        (KeyKind.SECRET, Role.SERVICE),
        (KeyKind.JWT, Role.ANON),
        (KeyKind.JWT, Role.SERVICE),
    ],
)
def test_a_key_alone_or_repeated_is_for_its_role(shop: Shop, kind: KeyKind, role: Role) -> None:
    who, key = shop.credentials(), shop.key(kind, role)
    for headers in (sent(key), sent(key, key)):
        assert who.authenticate(headers).role == role
        assert who.authenticate(headers).payload["role"] == role


def test_a_request_without_a_key_is_refused_whatever_its_token(shop: Shop) -> None:
    for headers in (sent(), sent(bearer=shop.token()), sent(bearer=shop.key())):
        with pytest.raises(ApiKeyMissing):
            shop.credentials().authenticate(headers)


def test_a_key_that_is_none_and_one_of_another_database_or_application_are_refused(
    shop: Shop, tmp_path: Path
) -> None:
    other = Shop(tmp_path, "club")
    for kind, role in ((KeyKind.SECRET, Role.SERVICE), (KeyKind.JWT, Role.SERVICE)):
        for key in (
            "nonsense",
            "sb_secret_" + "x" * 31,
            shop.key(kind, role, "products"),
            other.key(kind, role),
        ):
            with pytest.raises(ApiKeyInvalid):
                shop.credentials().authenticate(sent(key))


def test_the_token_of_a_user_outranks_the_key(shop: Shop) -> None:
    who = shop.credentials()
    for key in (shop.key(), shop.key(KeyKind.SECRET, Role.SERVICE)):
        claims = who.authenticate(sent(key, shop.token()))
        assert (claims.role, str(claims.subject)) == ("authenticated", ADA)


def test_the_same_token_is_good_at_every_database(shop: Shop) -> None:
    token = shop.token()
    for database in ("users", "products", "orders"):
        headers = sent(shop.key(database=database), token)
        assert shop.credentials(database).authenticate(headers).role == "authenticated"


def test_a_secret_key_as_a_token_outranks_the_key(shop: Shop) -> None:
    for kind in (KeyKind.SECRET, KeyKind.JWT):
        headers = sent(shop.key(), shop.key(kind, Role.SERVICE))
        assert shop.credentials().authenticate(headers).role == Role.SERVICE


def test_the_secret_key_of_another_database_is_no_token(shop: Shop) -> None:
    with pytest.raises(ApiKeyInvalid):
        shop.credentials().authenticate(
            sent(shop.key(), shop.key(KeyKind.SECRET, Role.SERVICE, "products"))
        )
    with pytest.raises(JwtUndecodable):
        shop.credentials().authenticate(
            sent(shop.key(), shop.key(KeyKind.JWT, Role.SERVICE, "products"))
        )


def test_tokens_signed_with_the_jwt_secret_are_for_the_role_they_name(shop: Shop) -> None:
    who = shop.credentials()
    for role in ("anon", "authenticated", "service_role"):
        claims = who.authenticate(sent(shop.key(), shop.legacy(role=role, sub="x")))
        assert (claims.role, claims.payload["sub"]) == (role, "x")
    assert who.authenticate(sent(shop.key(), shop.legacy(sub="x"))).role == Role.ANON


@pytest.mark.parametrize("role", ["postgres", "authenticator", "", None, 1, ["anon"], "ANON"])
def test_no_other_role_is_served(shop: Shop, role: object) -> None:
    with pytest.raises(RoleNotServed):
        shop.credentials().authenticate(sent(shop.key(), shop.legacy(role=role)))


@pytest.mark.parametrize(
    ("bearer", "reason"),
    [
        ("", "Empty JWT is sent in Authorization header"),
        ("x", "Expected 3 parts in JWT; got 1"),
        ("a.b", "Expected 3 parts in JWT; got 2"),
        ("a.b.c.d.e", "Expected 3 parts in JWT; got 5"),
        ("a.b.c", None),
        ("..", None),
        ("é.b.c", None),
        ("a.b." + "c" * 20_000, None),
    ],
)
def test_what_is_no_token_is_refused_with_the_reason(
    shop: Shop, bearer: str, reason: str | None
) -> None:
    with pytest.raises(JwtUndecodable) as refused:
        shop.credentials().authenticate(sent(shop.key(), bearer))
    assert reason is None or refused.value.message == reason


def test_forged_tokens_are_refused(shop: Shop, tmp_path: Path) -> None:
    good = shop.token()
    payload = jwt.decode(good, options={"verify_signature": False})
    header, body, signature = good.split(".")
    public = shop.tokens.keyring.keys.current.to_jwk()["x"]
    forged = {
        "unsigned": jwt.encode(payload, "", algorithm="none"),
        "a guess": jwt.encode(payload, "x" * 32, algorithm="HS256"),
        "a public key": jwt.encode(payload, public, algorithm="HS256"),
        "the public key of a database": jwt.encode(payload, shop.key(), algorithm="HS256"),
        "changed": f"{header}.{body[:-2]}AA.{signature}",
        "cut off": f"{header}.{body}.",
        "another application": Shop(tmp_path, "club").token(),
        "another issuer": shop.token(iss="http://elsewhere"),
        "another audience": shop.token(aud="somebody"),
        "a service": shop.token(role="service_role"),
    }
    for name, token in forged.items():
        with pytest.raises((JwtUndecodable, JwtClaimsInvalid)):
            pytest.fail(f"{name}: {shop.credentials().authenticate(sent(shop.key(), token))}")


def test_a_token_ends_when_it_expires_though_it_was_seen_before(shop: Shop) -> None:
    who, began = shop.credentials(), now()
    for token in (
        shop.token(ttl_s=60),
        shop.legacy(role="authenticated", exp=60 + int(began.timestamp())),
    ):
        headers = sent(shop.key(), token)
        who.authenticate(headers)
        with stopped(began + dt.timedelta(seconds=100)), pytest.raises(JwtClaimsInvalid) as refused:
            who.authenticate(headers)
        assert refused.value.message == "JWT expired"


def test_a_revoked_signing_key_ends_its_tokens_at_once(shop: Shop) -> None:
    who, token = shop.credentials(), shop.token()
    kid = shop.tokens.keyring.keys.current.kid
    headers = sent(shop.key(), token)
    who.authenticate(headers)
    shop.tokens.keyring.rotate()
    assert who.authenticate(headers).role == "authenticated"
    shop.tokens.keyring.revoke(kid)
    with pytest.raises(JwtUndecodable):
        who.authenticate(headers)


def test_a_revoked_key_is_refused_at_once_and_not_before(shop: Shop) -> None:
    who = shop.credentials()
    opaque = sent(shop.key())
    legacy = sent(shop.key(), shop.legacy(role="authenticated"))
    for kind, headers in ((KeyKind.PUBLISHABLE, opaque), (KeyKind.JWT, legacy)):
        who.authenticate(headers)
        shop.ring.rotate("orders", kind)
        who.authenticate(headers)
    shop.ring.revoke("orders", KeyKind.JWT, 0)
    with pytest.raises(JwtUndecodable):
        who.authenticate(legacy)
    shop.ring.revoke("orders", KeyKind.PUBLISHABLE, 0)
    with pytest.raises(ApiKeyInvalid):
        who.authenticate(opaque)


def test_two_different_keys_or_tokens_are_refused(shop: Shop) -> None:
    who, key = shop.credentials(), shop.key()
    assert who.authenticate([*sent(key), *sent(key)]).role == Role.ANON
    for headers in (
        [*sent(key), *sent(shop.key(KeyKind.SECRET, Role.SERVICE))],
        [*sent(key, shop.token()), *sent(key, shop.token(ttl_s=7))],
    ):
        with pytest.raises(ApiKeyAmbiguous):
            who.authenticate(headers)


@pytest.mark.parametrize("value", [b"Basic YTpi", b"Digest x", b"nonsense"])
def test_another_scheme_is_left_alone(shop: Shop, value: bytes) -> None:
    headers = [*sent(shop.key()), (b"authorization", value)]
    assert shop.credentials().authenticate(headers).role == Role.ANON


def test_where_no_key_is_required_a_token_is_enough(shop: Shop) -> None:
    who = shop.credentials(is_key_required=False)
    assert who.authenticate(sent(bearer=shop.token())).role == "authenticated"
    assert (
        who.authenticate(sent(bearer=shop.key(KeyKind.SECRET, Role.SERVICE))).role == Role.SERVICE
    )
    with pytest.raises(ApiKeyInvalid):
        who.authenticate(sent("nonsense", shop.token()))
    with pytest.raises(ApiKeyMissing):
        who.authenticate(sent())


def test_the_service_of_one_database_is_nobody_to_the_users_of_another(shop: Shop) -> None:
    authenticate = without_service(shop.credentials().authenticate)
    key = shop.key(KeyKind.SECRET, Role.SERVICE)
    assert authenticate(sent(key)).role == Role.ANON
    assert authenticate(sent(key, shop.token())).role == "authenticated"


def test_where_tokens_name_their_databases_others_refuse_them(shop: Shop) -> None:
    shop.tokens.audiences = ("commerce/users", "commerce/orders")
    verify = partial(_verify_audience, shop.tokens.verify, "commerce/orders")
    who = shop.credentials()
    who.users = Users(verify, shop.users.version)
    good = shop.token(aud=["authenticated", "commerce/users", "commerce/orders"])
    assert who.authenticate(sent(shop.key(), good)).role == "authenticated"
    for audience in ("authenticated", ["authenticated"], ["authenticated", "commerce/users"]):
        with pytest.raises(JwtClaimsInvalid) as refused:
            who.authenticate(sent(shop.key(), shop.token(aud=audience)))
        assert refused.value.message == "JWT not in audience"


def test_what_is_remembered_is_bounded(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    assert CACHE_MAX >= 1000
    monkeypatch.setattr("bulkhead.gateway.credentials.CACHE_MAX", 3)
    who = shop.credentials()
    for number in range(10):
        who.authenticate(sent(shop.key(), shop.legacy(role="anon", jti=str(number))))
    assert len(who._known) == 3


@given(st.lists(st.tuples(st.sampled_from([b"apikey", b"authorization"]), st.binary(max_size=40))))
def test_no_headers_are_a_failure_or_anybody(
    tmp_path_factory: pytest.TempPathFactory, headers: list[tuple[bytes, bytes]]
) -> None:
    who = Shop(tmp_path_factory.mktemp("home")).credentials()
    with pytest.raises((ApiKeyMissing, ApiKeyInvalid, ApiKeyAmbiguous)):
        who.authenticate(headers)
