"""Keys change while tokens are made and verified, in several processes, and nothing fails."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from tempfile import TemporaryDirectory

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given, settings
from hypothesis import strategies as st
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from bulkhead.capabilities.identity.errors import KeyNotImportable, TokenInvalid
from bulkhead.capabilities.identity.model import Session, SessionId, UserId, UserRow
from bulkhead.capabilities.identity.tokens.access import AccessTokens
from bulkhead.capabilities.identity.tokens.keyring import KeyRing
from bulkhead.capabilities.identity.tokens.keys import KeyState
from bulkhead.engine.ids import new_id

AT = dt.datetime(2026, 11, 2, 12, tzinfo=dt.UTC)
ISSUER = "https://shop.example/commerce/auth/v1"
USER = UserRow(UserId(new_id()), "ada@example.com", created_at=AT, updated_at=AT)
SESSION = Session(SessionId(new_id()), "refresh")
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
Private = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


def pem(key: Private) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


def open_tokens(path: Path) -> AccessTokens:
    return AccessTokens(KeyRing(path), ISSUER)


def sign(tokens: AccessTokens) -> str:
    return tokens.sign(USER, SESSION)[0]


def kid_of(token: str) -> str:
    kid: str = jwt.get_unverified_header(token)["kid"]
    return kid


@settings(deadline=None, max_examples=30)
@given(st.lists(st.sampled_from(["sign", "rotate", "rotate", "revoke", "import"]), max_size=25))
def test_only_tokens_of_revoked_keys_fail_in_every_process(steps: list[str]) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "commerce.json"
        here, there, operator = open_tokens(path), open_tokens(path), KeyRing(path)
        issued = [sign(here), sign(there)]
        revoked: set[str] = set()
        for step in steps:
            match step:
                case "sign":
                    issued += [sign(here), sign(there)]
                case "rotate":
                    operator.rotate()
                case "import":
                    operator.import_key(pem(ec.generate_private_key(ec.SECP256R1())))
                case _:
                    previous = [
                        key.kid for key in operator.keys.keys if key.state is KeyState.PREVIOUS
                    ]
                    for kid in previous[:1]:
                        operator.revoke(kid)
                        revoked.add(kid)
                        here.keyring._fresh_until_s = there.keyring._fresh_until_s = 0.0
            assert here.keyring.keys.to_jwks()["keys"]
            for tokens in (here, there):
                for token in issued:
                    if kid_of(token) in revoked:
                        with pytest.raises(TokenInvalid, match="revoked"):
                            tokens.verify(token)
                    else:
                        assert tokens.verify(token).subject == USER.id


def test_a_token_of_a_key_that_came_with_two_rotations_is_good_at_once(tmp_path: Path) -> None:
    path = tmp_path / "commerce.json"
    here, there = open_tokens(path), open_tokens(path)
    _ = here.keyring.keys, there.keyring.keys
    there.keyring.rotate()
    there.keyring.rotate()
    assert here.verify(sign(there)).subject == USER.id


@pytest.mark.parametrize("key", [RSA, ec.generate_private_key(ec.SECP256R1())])
def test_an_imported_key_signs_after_the_next_rotation(tmp_path: Path, key: Private) -> None:
    path = tmp_path / "commerce.json"
    tokens = open_tokens(path)
    before = sign(tokens)
    tokens.keyring.import_key(pem(key))
    assert kid_of(sign(tokens)) == kid_of(before)
    tokens.keyring.rotate()
    after = sign(tokens)
    assert kid_of(after) != kid_of(before)
    for token in (before, after):
        assert open_tokens(path).verify(token).subject == USER.id
    published = {each["kid"]: each for each in tokens.keyring.keys.to_jwks()["keys"]}
    public = jwt.PyJWK(published[kid_of(after)])
    assert jwt.decode(after, public, audience="authenticated")["sub"] == str(USER.id)


def test_a_web_key_keeps_its_name_and_lets_its_tokens_go_on(tmp_path: Path) -> None:
    tokens = open_tokens(tmp_path / "commerce.json")
    document = RSAAlgorithm.to_jwk(RSA, as_dict=True)
    tokens.keyring.import_key(json.dumps({**document, "kid": "of-old"}), KeyState.PREVIOUS)
    payload = jwt.decode(sign(tokens), options={"verify_signature": False})
    token = jwt.encode(payload, RSA, "RS256", headers={"kid": "of-old"})
    assert tokens.verify(token).subject == USER.id
    again = open_tokens(tmp_path / "commerce.json")
    assert again.verify(token).subject == USER.id
    tokens.keyring.revoke("of-old")
    with pytest.raises(TokenInvalid):
        tokens.verify(token)


def test_a_key_verifies_with_its_own_algorithm_only(tmp_path: Path) -> None:
    tokens = open_tokens(tmp_path / "commerce.json")
    tokens.keyring.import_key(pem(RSA))
    key = tokens.keyring.keys.keys[-1]
    payload = jwt.decode(sign(tokens), options={"verify_signature": False})
    private = ec.generate_private_key(ec.SECP256R1())
    for forged in (
        jwt.encode(payload, private, "ES256", headers={"kid": key.kid}),
        jwt.encode(payload, RSA, "PS256", headers={"kid": key.kid}),
        jwt.encode(payload, "a secret that is long enough!!!!!", "HS256", headers={"kid": key.kid}),
    ):
        with pytest.raises(TokenInvalid):
            tokens.verify(forged)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        "null",
        '{"kty":"oct","k":"c2VjcmV0"}',
        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        pem(ec.generate_private_key(ec.SECP384R1())),
        pem(ed25519.Ed25519PrivateKey.generate()),
        pem(rsa.generate_private_key(public_exponent=65537, key_size=1024)),  # noqa: S505 - refused
        ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256R1()).public_key()),
        json.dumps({**RSAAlgorithm.to_jwk(RSA, as_dict=True), "kid": 7}),
        "é",
    ],
)
def test_what_is_no_key_to_sign_with_is_refused_without_quoting_it(
    tmp_path: Path, text: str
) -> None:
    ring = KeyRing(tmp_path / "commerce.json")
    before = ring.keys
    with pytest.raises(KeyNotImportable) as caught:
        ring.import_key(text)
    assert ring.keys is before
    assert len(str(caught.value)) < 120


def test_a_key_is_imported_once(tmp_path: Path) -> None:
    ring = KeyRing(tmp_path / "commerce.json")
    ring.import_key(pem(RSA))
    with pytest.raises(KeyNotImportable, match="already"):
        ring.import_key(pem(RSA))
    with pytest.raises(KeyNotImportable, match="as current"):
        ring.import_key(pem(ec.generate_private_key(ec.SECP256R1())), KeyState.CURRENT)
