"""Twenty-seven ways to forge a token, and what a true one is worth."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import hmac
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from bulkhead.capabilities.identity.errors import TokenInvalid
from bulkhead.capabilities.identity.model import Session, SessionId, UserId, UserRow
from bulkhead.capabilities.identity.tokens import access
from bulkhead.capabilities.identity.tokens.access import LEEWAY_S, AccessTokens
from bulkhead.capabilities.identity.tokens.keyring import RELOAD_S, KeyRing
from bulkhead.engine import clock
from bulkhead.engine.connections.claims import Role
from bulkhead.engine.ids import new_id

AT = dt.datetime(2026, 11, 2, 12, tzinfo=dt.UTC)
AT_S = int(AT.timestamp())
ISSUER = "https://shop.example/commerce/auth/v1"
USER = UserRow(
    id=UserId(new_id()),
    email="ada@example.com",
    created_at=AT,
    updated_at=AT,
    app_metadata={"role": "staff"},
    user_metadata={"name": "Ada"},
)
SESSION = Session(SessionId(new_id()), "refresh", [{"method": "password", "timestamp": AT_S}])
FOREIGN = ec.generate_private_key(ec.SECP256R1())


@pytest.fixture
def tokens(tmp_path: Path) -> AccessTokens:
    return AccessTokens(KeyRing(tmp_path / "keys" / "commerce.json"), ISSUER)


def encode(value: object) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


class Forger:
    """Knows everything that is public, and what a token looks like."""

    def __init__(self, tokens: AccessTokens) -> None:
        self.key = tokens.keyring.keys.current
        self.standby = tokens.keyring.keys.keys[1]
        with clock.stopped(AT):
            self.true, _ = tokens.sign(USER, SESSION)
        self.header, self.payload, self.signature = self.true.split(".")
        self.claims: dict[str, Any] = json.loads(
            base64.urlsafe_b64decode(self.payload + "=" * (-len(self.payload) % 4))
        )

    def with_header(self, **header: object) -> str:
        """The true payload under another header, without a valid signature."""
        return f"{encode(header)}.{self.payload}.{self.signature}"

    def signed_by_us(self, *, header: dict[str, Any] | None = None, **claims: object) -> str:
        """What a fault of ours could sign: a claim that is None is left out."""
        payload = {k: v for k, v in {**self.claims, **claims}.items() if v is not None}
        return jwt.api_jws.encode(
            json.dumps(payload).encode(),
            self.key.private,
            algorithm="ES256",
            headers={"kid": self.key.kid, **(header or {})},
        )

    def signed_by_stranger(self, header: dict[str, Any]) -> str:
        return jwt.encode(self.claims, FOREIGN, algorithm="ES256", headers=header)

    def hmac_with(self, secret: bytes) -> str:
        text = f"{encode({'alg': 'HS256', 'typ': 'JWT', 'kid': self.key.kid})}.{self.payload}"
        return f"{text}.{encode(hmac.digest(secret, text.encode(), hashlib.sha256))}"

    @property
    def public_pem(self) -> bytes:
        return self.key.public.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    @property
    def foreign_jwk(self) -> dict[str, Any]:
        jwk: dict[str, Any] = jwt.algorithms.ECAlgorithm.to_jwk(FOREIGN.public_key(), as_dict=True)
        return jwk


def nested(forger: Forger) -> str:
    """A header so deep that a parser runs out of stack, within the size that is read."""
    text = f'{{"alg":"ES256","kid":"{forger.key.kid}","x":{"[" * 5000}{"]" * 5000}}}'
    return f"{encode(text.encode())}.e30.{forger.signature}"


PROBES: dict[str, Callable[[Forger], str]] = {
    "alg none": lambda f: f"{encode({'alg': 'none', 'kid': f.key.kid})}.{f.payload}.",
    "alg nOnE": lambda f: f"{encode({'alg': 'nOnE', 'kid': f.key.kid})}.{f.payload}.",
    "alg none keeping the signature": lambda f: f.with_header(alg="none", kid=f.key.kid),
    "HS256 with the public key as PEM": lambda f: f.hmac_with(f.public_pem),
    "HS256 with the published key": lambda f: f.hmac_with(json.dumps(f.key.to_jwk()).encode()),
    "HS256 with an empty secret": lambda f: f.hmac_with(b""),
    "zero signature": lambda f: f"{f.header}.{f.payload}.{encode(bytes(64))}",
    "stripped signature": lambda f: f"{f.header}.{f.payload}.",
    "no signature part": lambda f: f"{f.header}.{f.payload}",
    "another payload under the signature": lambda f: (
        f"{f.header}.{encode({**f.claims, 'sub': str(new_id())})}.{f.signature}"
    ),
    "key in the header (jwk)": lambda f: f.signed_by_stranger(
        {"kid": f.key.kid, "jwk": f.foreign_jwk}
    ),
    "key from an address (jku)": lambda f: f.signed_by_stranger(
        {"kid": f.key.kid, "jku": "https://evil.example/jwks.json"}
    ),
    "signed by a stranger": lambda f: f.signed_by_stranger({"kid": f.key.kid}),
    "unknown kid": lambda f: f.signed_by_stranger({"kid": "../../../dev/null"}),
    "kid of another key of ours": lambda f: f.signed_by_us(header={"kid": f.standby.kid}),
    "no kid": lambda f: jwt.encode(f.claims, f.key.private, algorithm="ES256"),
    "kid that is no text": lambda f: f.with_header(alg="ES256", kid=[f.key.kid]),
    "address of a key, signed by us": lambda f: f.signed_by_us(header={"jku": "https://x.example"}),
    "key in the header, signed by us": lambda f: f.signed_by_us(header={"jwk": f.foreign_jwk}),
    "certificate in the header, signed by us": lambda f: f.signed_by_us(header={"x5c": ["x"]}),
    "critical header": lambda f: f.signed_by_us(header={"crit": ["exp"], "exp": 1}),
    "expired": lambda f: f.signed_by_us(exp=AT_S - LEEWAY_S),
    "no exp": lambda f: f.signed_by_us(exp=None),
    "exp that is no number": lambda f: f.signed_by_us(exp=float("nan")),
    "wrong aud": lambda f: f.signed_by_us(aud="anon"),
    "wrong iss": lambda f: f.signed_by_us(iss="https://shop.example/other/auth/v1"),
    "not valid yet (nbf)": lambda f: f.signed_by_us(nbf=AT_S + LEEWAY_S + 1),
    "issued in the future": lambda f: f.signed_by_us(iat=AT_S + LEEWAY_S + 1),
    "two megabytes": lambda f: f.signed_by_us(user_metadata={"x": "x" * 2_000_000}),
    "role postgres": lambda f: f.signed_by_us(role="postgres"),
    "role service_role": lambda f: f.signed_by_us(role="service_role"),
    "role anon": lambda f: f.signed_by_us(role="anon"),
    "list of roles": lambda f: f.signed_by_us(role=["authenticated"]),
    "no role": lambda f: f.signed_by_us(role=None),
    "list of audiences": lambda f: f.signed_by_us(aud=["authenticated", "service_role"]),
    "no sub": lambda f: f.signed_by_us(sub=None),
    "sub that is no UUID": lambda f: f.signed_by_us(sub="' or true --"),
    "sub that is a number": lambda f: f.signed_by_us(sub=7),
    "no iat": lambda f: f.signed_by_us(iat=None),
    "no session": lambda f: f.signed_by_us(session_id=None),
    "exp that is true": lambda f: f.signed_by_us(exp=True),
    "deeply nested": nested,
    "not ASCII": lambda f: f.true + "é",
    "lone surrogate": lambda f: f.true + "\udcff",
    "four parts": lambda f: f"{f.true}.{f.signature}",
    "empty": lambda _: "",
}


def test_there_are_at_least_the_27_probes() -> None:
    assert len(PROBES) >= 27


def test_a_true_token_is_accepted(tokens: AccessTokens) -> None:
    forger = Forger(tokens)
    with clock.stopped(AT):
        claims = tokens.verify(forger.true)
    assert claims.role == Role.AUTHENTICATED
    assert claims.subject == USER.id
    assert claims.app_role == "staff"
    assert json.loads(claims.json)["session_id"] == str(SESSION.id)
    assert set(claims.payload) == {
        *("iss", "sub", "aud", "exp", "iat", "email", "phone", "app_metadata", "user_metadata"),
        *("role", "aal", "amr", "session_id", "is_anonymous"),
    }


@pytest.mark.parametrize("probe", PROBES)
def test_a_forged_token_is_refused(tokens: AccessTokens, probe: str) -> None:
    forged = PROBES[probe](Forger(tokens))
    with clock.stopped(AT), pytest.raises(TokenInvalid):
        tokens.verify(forged)


@pytest.mark.parametrize("probe", PROBES)
def test_a_forged_token_is_refused_after_a_true_one_was_accepted(
    tokens: AccessTokens, probe: str
) -> None:
    forger = Forger(tokens)
    with clock.stopped(AT):
        tokens.verify(forger.true)
        with pytest.raises(TokenInvalid):
            tokens.verify(PROBES[probe](forger))


def test_what_the_forger_signs_would_pass_without_its_fault(tokens: AccessTokens) -> None:
    with clock.stopped(AT):
        assert tokens.verify(Forger(tokens).signed_by_us()).subject == USER.id


def test_a_token_ends_with_its_time_although_it_was_verified_before(tokens: AccessTokens) -> None:
    token = Forger(tokens).true
    last = AT + dt.timedelta(seconds=tokens.ttl_s + LEEWAY_S - 1)
    for instant in (AT, last):
        with clock.stopped(instant):
            assert tokens.verify(token).subject == USER.id
    with clock.stopped(last + dt.timedelta(seconds=1)), pytest.raises(TokenInvalid):
        tokens.verify(token)


def test_a_token_is_verified_once_and_then_remembered(
    tokens: AccessTokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = Forger(tokens).true
    with clock.stopped(AT):
        first = tokens.verify(token)
        monkeypatch.setattr(jwt, "decode", None)
        assert tokens.verify(token) is first


def test_no_more_tokens_are_remembered_than_allowed(
    tokens: AccessTokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access, "CACHE_MAX", 3)
    with clock.stopped(AT):
        issued = [tokens.sign(USER, Session(SessionId(new_id()), "r"))[0] for _ in range(5)]
        for token in issued[:3]:
            tokens.verify(token)
        kept = tokens.verify(issued[0])
        tokens.verify(issued[3])
        tokens.verify(issued[4])
        assert len(tokens._verified) == 3
        assert tokens.verify(issued[0]) is kept, "the one used last stays"


def test_a_refused_token_is_not_remembered(tokens: AccessTokens) -> None:
    forged = PROBES["signed by a stranger"](Forger(tokens))
    with clock.stopped(AT), pytest.raises(TokenInvalid):
        tokens.verify(forged)
    assert not tokens._verified


def test_after_a_rotation_old_tokens_are_valid_until_their_key_is_revoked(
    tokens: AccessTokens,
) -> None:
    with clock.stopped(AT):
        old, _ = tokens.sign(USER, SESSION)
        kid = tokens.keyring.keys.current.kid
        tokens.verify(old)
        tokens.keyring.rotate()
        new, _ = tokens.sign(USER, SESSION)
        assert jwt.get_unverified_header(new)["kid"] != kid
        assert tokens.verify(old).subject == tokens.verify(new).subject
        tokens.keyring.revoke(kid)
        with pytest.raises(TokenInvalid):
            tokens.verify(old)
        assert tokens.verify(new).subject == USER.id


def test_another_process_learns_of_a_revocation_in_time(
    tokens: AccessTokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = KeyRing(tokens.keyring.path)
    with clock.stopped(AT):
        old, _ = tokens.sign(USER, SESSION)
        tokens.verify(old)
        kid = other.keys.current.kid
        other.rotate()
        other.revoke(kid)
        later_s = clock.monotonic_s() + RELOAD_S
        monkeypatch.setattr(
            "bulkhead.capabilities.identity.tokens.keyring.monotonic_s", lambda: later_s
        )
        with pytest.raises(TokenInvalid):
            tokens.verify(old)


def test_a_token_of_one_application_is_worth_nothing_in_another(
    tokens: AccessTokens, tmp_path: Path
) -> None:
    other = AccessTokens(KeyRing(tmp_path / "other.json"), ISSUER.replace("commerce", "trading"))
    same_keys = AccessTokens(tokens.keyring, other.issuer)
    token = Forger(tokens).true
    for somebody in (other, same_keys):
        with clock.stopped(AT), pytest.raises(TokenInvalid):
            somebody.verify(token)


def test_others_can_verify_with_the_published_keys(tokens: AccessTokens) -> None:
    token = Forger(tokens).true
    jwks = jwt.PyJWKSet.from_dict(tokens.keyring.keys.to_jwks())
    kid = jwt.get_unverified_header(token)["kid"]
    payload = jwt.decode(
        token,
        jwks[kid].key,
        algorithms=["ES256"],
        audience="authenticated",
        issuer=ISSUER,
        options={"verify_exp": False, "verify_iat": False},
    )
    assert payload["sub"] == str(USER.id)
