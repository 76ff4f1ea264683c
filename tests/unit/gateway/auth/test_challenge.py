import base64
import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.capabilities.identity.flows.service import is_answer
from bulkhead.capabilities.identity.model import Challenge
from bulkhead.gateway.auth.body import parse_body
from bulkhead.gateway.auth.challenge import read_challenge
from bulkhead.gateway.auth.errors import BodyInvalid, RequestInvalid

VERIFIER = st.text("abcXYZ019-._~", min_size=43, max_size=128)


def read(text: str, method: str) -> Challenge | None:
    body = {"code_challenge": text, "code_challenge_method": method}
    return read_challenge(parse_body(json.dumps(body).encode()))


def test_the_example_of_the_standard() -> None:
    # RFC 7636, appendix B.
    challenge = Challenge("E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM", "s256")
    assert is_answer(challenge, "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk")


@given(VERIFIER, VERIFIER)
def test_only_the_verifier_answers_its_challenge(verifier: str, other: str) -> None:
    digest = hashlib.sha256(verifier.encode()).digest()
    hashed = read(base64.urlsafe_b64encode(digest).rstrip(b"=").decode(), "S256")
    plain = read(verifier, "plain")
    for challenge in (hashed, plain):
        assert challenge is not None
        assert is_answer(challenge, verifier)
        assert is_answer(challenge, other) is (other == verifier)


def test_without_a_challenge_there_is_none() -> None:
    assert read("", "") is None


@given(st.text(max_size=140), st.sampled_from(["s256", "plain", "S512", "", "none"]))
def test_whatever_is_read_is_short_and_plain(text: str, method: str) -> None:
    try:
        challenge = read(text, method)
    except (BodyInvalid, RequestInvalid):
        return
    if challenge is not None:
        assert 43 <= len(challenge.text) <= 128
        assert challenge.text.isascii()
        assert challenge.method in {"s256", "plain"}


@pytest.mark.parametrize("verifier", ["", "\ud800", "é", "x" * 10_000])
def test_nothing_answers_an_empty_challenge(verifier: str) -> None:
    assert not is_answer(Challenge("", "plain"), verifier)
