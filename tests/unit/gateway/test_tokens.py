import base64
import datetime as dt
import hmac
import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from bulkhead.engine.clock import now, stopped
from bulkhead.engine.errors import ConfigurationInvalid
from bulkhead.gateway import tokens
from bulkhead.gateway.rest.errors import JwtRequired, JwtSecretMissing, RestError
from bulkhead.gateway.tokens import TokenVerifier, find_bearer

SECRET = "reallyreallyreallyreallyverysafe"  # noqa: S105 - that of PostgREST's tests
START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
AT_S = int(START.timestamp())


def encode(part: object) -> str:
    text = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def sign(payload: dict[str, Any], key: Any = SECRET, algorithm: str = "HS256", **head: Any) -> str:
    return jwt.encode(payload, key, algorithm, headers=head)


def sign_text(text: bytes, key: str = SECRET) -> str:
    """A token whose payload is any text, signed with whatever is taken for a secret."""
    signed = f"{encode({'alg': 'HS256'})}.{encode(text)}"
    return f"{signed}.{encode(hmac.digest(key.encode(), signed.encode(), 'sha256'))}"


def refuse(token: str, verifier: TokenVerifier | None = None) -> dict[str, Any]:
    with pytest.raises(RestError) as caught:
        (verifier or TokenVerifier(SECRET)).identify(token.encode())
    return caught.value.to_body()


def test_a_signed_token_names_its_role() -> None:
    claims = TokenVerifier(SECRET).identify(sign({"role": "author", "n": 1}).encode()).claims
    assert claims.role == "author"
    assert json.loads(claims.json) == claims.payload == {"role": "author", "n": 1}


def test_a_token_without_a_role_is_for_the_anonymous_one() -> None:
    claims = TokenVerifier(SECRET, anon_role="guest").identify(sign({"id": 2}).encode()).claims
    assert claims.role == "guest"
    assert json.loads(claims.json) == {"id": 2, "role": "guest"}
    with pytest.raises(JwtRequired):
        TokenVerifier(SECRET, anon_role=None).identify(sign({}).encode())


def test_the_role_may_stand_elsewhere() -> None:
    verifier = TokenVerifier(SECRET, role_claim='.app."roles"[0]')
    assert verifier.identify(sign({"app": {"roles": ["a"]}}).encode()).claims.role == "a"
    assert verifier.identify(sign({"app": {"roles": [7]}}).encode()).claims.role == "7"


def test_nobody_is_anonymous_where_there_is_such_a_role() -> None:
    assert TokenVerifier(None).authenticate([]).role == "anon"
    with pytest.raises(JwtRequired):
        TokenVerifier(SECRET, anon_role=None).authenticate([(b"authorization", b"Basic x")])


def test_a_token_without_keys_is_our_fault() -> None:
    with pytest.raises(JwtSecretMissing):
        TokenVerifier(None).authenticate([(b"authorization", b"Bearer a.b.c")])


@pytest.mark.parametrize(
    ("value", "token"),
    [
        (b"Bearer abc", b"abc"),
        (b"bearer  abc", b"abc"),
        (b"Bearer ", b""),
        (b"Bearer", b""),
        (b"Basic abc", None),
        (b"", None),
    ],
)
def test_a_token_follows_the_word_bearer(value: bytes, token: bytes | None) -> None:
    assert find_bearer([(b"x", b"y"), (b"authorization", value)]) == token


# The messages are those of PostgREST's own tests.
@pytest.mark.parametrize(
    ("token", "message", "details"),
    [
        ("", "Empty JWT is sent in Authorization header", None),
        ("a.b", "Expected 3 parts in JWT; got 2", None),
        ("a.b.c.d", "Expected 3 parts in JWT; got 4", None),
        (
            "quifquirndsjagnrgniur.fonvoienqhhdj.iuqvnvhojah",
            "JWT cryptographic operation failed",
            None,
        ),
        (
            f"{encode({'alg': 'none'})}.{encode({})}.",
            "Wrong or unsupported encoding algorithm",
            "JWT is unsecured but expected 'alg' was not 'none'",
        ),
        (f"{encode({'alg': 'XS256'})}.{encode({})}.AA", "JWT couldn't be decoded", None),
        (f"{encode([1])}.{encode({})}.AA", "JWT couldn't be decoded", None),
        (f"{encode({'alg': 'HS256', 'kid': 1})}.{encode({})}.AA", "JWT couldn't be decoded", None),
        (f"{encode(b'[' * 5000)}.{encode({})}.AA", "JWT couldn't be decoded", None),
        (f"{encode({'alg': 'HS256'})}.{'A' * 20_000}.AA", "JWT couldn't be decoded", None),
        (
            f"{encode({'alg': 'RS256'})}.{encode({})}.AA",
            "No suitable key or wrong key type",
            "No suitable key was found to decode the JWT",
        ),
        (
            f"{encode({'alg': 'HS256'})}.{encode({})}.A!",
            "No suitable key or wrong key type",
            "None of the keys was able to decode the JWT",
        ),
        (
            sign({}, "another" * 6),
            "No suitable key or wrong key type",
            "None of the keys was able to decode the JWT",
        ),
    ],
)
def test_what_is_no_token_is_refused(token: str, message: str, details: str | None) -> None:
    assert refuse(token) == {
        "code": "PGRST301",
        "details": details,
        "hint": None,
        "message": message,
    }


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        ({"exp": AT_S - 31}, "JWT expired"),
        ({"nbf": AT_S + 31}, "JWT not yet valid"),
        ({"iat": AT_S + 31}, "JWT issued at future"),
        ({"exp": "soon"}, "The JWT 'exp' claim must be a number"),
        ({"nbf": True}, "The JWT 'nbf' claim must be a number"),
        ({"iat": []}, "The JWT 'iat' claim must be a number"),
        ({"aud": {}}, "The JWT 'aud' claim must be a string or an array of strings"),
        ({"aud": ["us", 1]}, "The JWT 'aud' claim must be a string or an array of strings"),
        ({"aud": "others"}, "JWT not in audience"),
        ({"aud": ["others", ""]}, "JWT not in audience"),
    ],
)
def test_a_token_for_another_time_or_audience_is_refused(
    payload: dict[str, Any], message: str
) -> None:
    token = sign_text(json.dumps(payload).encode())
    with stopped(START):
        body = refuse(token, TokenVerifier(SECRET, audience="us"))
    assert (body["code"], body["message"]) == ("PGRST303", message)


@pytest.mark.parametrize(
    "payload",
    [
        {"exp": AT_S - 30, "nbf": AT_S + 30, "iat": AT_S + 30},
        {"exp": None, "aud": None},
        {"exp": AT_S + 0.5},
        {"aud": []},
        {"aud": "us"},
        {"aud": ["others", "us"]},
    ],
)
def test_half_a_minute_and_one_audience_of_several_are_enough(payload: dict[str, Any]) -> None:
    with stopped(START):
        TokenVerifier(SECRET, audience="us").identify(
            sign_text(json.dumps(payload).encode()).encode()
        )


@pytest.mark.parametrize("text", [b"[]", b"no json", b"\xff", b'{"exp":NaN}', b"[" * 10_000])
def test_claims_are_a_json_object(text: bytes) -> None:
    assert refuse(sign_text(text))["message"] == "Parsing claims failed"


def test_what_was_verified_expires_and_is_forgotten_when_it_is_too_much(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tokens, "CACHE_MAX", 2)
    verifier = TokenVerifier(SECRET)
    first, *others = [sign({"n": n, "exp": AT_S}).encode() for n in range(4)]
    with stopped(START):
        found = verifier.identify(first)
        assert verifier.identify(first) is found
        for other in others:
            verifier.identify(other)
        assert verifier.identify(first) is not found
    with stopped(START + dt.timedelta(seconds=31)), pytest.raises(RestError):
        verifier.identify(first)


RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())
EC_384 = ec.generate_private_key(ec.SECP384R1())
ED = ed25519.Ed25519PrivateKey.generate()


def jwk(algorithm: Any, key: Any, **more: str) -> dict[str, Any]:
    return {**json.loads(algorithm.to_jwk(key)), **more}


KEYS: dict[str, tuple[Any, dict[str, Any]]] = {
    "HS256": (b"s" * 64, {"kty": "oct", "k": encode(b"s" * 64), "kid": "h"}),
    "HS512": (b"s" * 64, {"kty": "oct", "k": encode(b"s" * 64), "alg": "HS512"}),
    "RS256": (RSA, jwk(RSAAlgorithm, RSA.public_key(), kid="r")),
    "RS384": (RSA, jwk(RSAAlgorithm, RSA)),
    "ES256": (EC, jwk(ECAlgorithm, EC.public_key(), kid="e")),
    "ES384": (EC_384, jwk(ECAlgorithm, EC_384)),
    "EdDSA": (ED, jwk(OKPAlgorithm, ED.public_key())),
}


@pytest.mark.parametrize("algorithm", KEYS)
def test_keys_of_every_kind_verify_alone_and_in_a_set(algorithm: str) -> None:
    key, one = KEYS[algorithm]
    token = sign({"role": "a"}, key, algorithm)
    every = [each for _, each in KEYS.values()]
    for text in (json.dumps(one), json.dumps({"keys": every})):
        assert TokenVerifier(text).verify(token)["role"] == "a"
    assert TokenVerifier(["other", json.dumps(one)]).verify(token)["role"] == "a"


def test_a_named_key_is_the_only_one_that_is_tried() -> None:
    verifier = TokenVerifier(json.dumps({"keys": [one for _, one in KEYS.values()]}))
    assert verifier.verify(sign({"n": 1}, RSA, "RS256", kid="r")) == {"n": 1}
    for kid in ("e", "x"):
        body = refuse(sign({}, RSA, "RS256", kid=kid), verifier)
        assert body["details"] == "No suitable key was found to decode the JWT"


def test_a_public_key_is_never_a_secret() -> None:
    text = json.dumps(KEYS["RS256"][1])
    assert refuse(sign_text(b"{}", text), TokenVerifier(text))["code"] == "PGRST301"


def test_a_curve_belongs_to_its_algorithm_and_encryption_keys_do_not_verify() -> None:
    wrong = TokenVerifier(json.dumps(KEYS["ES384"][1]))
    assert refuse(sign({}, EC, "ES256"), wrong)["code"] == "PGRST301"
    unused = TokenVerifier(json.dumps({**KEYS["RS256"][1], "use": "enc"}))
    assert refuse(sign({}, RSA, "RS256"), unused)["code"] == "PGRST301"


@pytest.mark.parametrize(
    "text", ['{"keys":1}', '{"keys":[1]}', '{"kty":"RSA"}', '{"kty":"oct","k":"!"}']
)
def test_keys_that_cannot_be_read_are_told(text: str) -> None:
    with pytest.raises(ConfigurationInvalid):
        TokenVerifier(text)


@given(st.binary(max_size=80), st.booleans())
def test_any_bytes_are_refused_as_a_token(token: bytes, is_dotted: bool) -> None:
    verifier = TokenVerifier(SECRET)
    with pytest.raises(RestError):
        verifier.identify(token + b".." if is_dotted else token)


@given(st.integers(0, 200), st.sampled_from("ABCxyz019-_."))
def test_a_changed_token_is_refused(at: int, character: str) -> None:
    token = sign({"role": "a", "exp": int(now().timestamp()) + 60})
    at %= len(token)
    changed = token[:at] + character + token[at + 1 :]
    if changed == token or at == len(token) - 1:  # the last one has bits that say nothing
        return
    refuse(changed)
