import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.capabilities.identity.errors import HookInvalid, HookRefused
from bulkhead.capabilities.identity.hooks.service import KEPT, parse_output

CLAIMS: dict[str, Any] = {
    "iss": "https://shop.example/auth/v1",
    "sub": "3d1f3f6e-6f0a-4f5f-8a43-1d4a7d0b0f11",
    "aud": "authenticated",
    "exp": 2,
    "iat": 1,
    "email": "ada@example.com",
    "phone": "",
    "role": "authenticated",
    "aal": "aal1",
    "session_id": "4d1f3f6e-6f0a-4f5f-8a43-1d4a7d0b0f11",
    "is_anonymous": False,
}
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=4,
)


def test_what_is_added_is_kept() -> None:
    made = parse_output("f", json.dumps({"claims": {**CLAIMS, "plan": "gold"}}), CLAIMS)
    assert made == {**CLAIMS, "plan": "gold"}


@pytest.mark.parametrize("name", KEPT)
def test_whom_a_token_is_for_does_not_change(name: str) -> None:
    with pytest.raises(HookInvalid):
        parse_output("f", json.dumps({"claims": {**CLAIMS, name: "other"}}), CLAIMS)


def test_a_refusal_is_told() -> None:
    output = json.dumps({"error": {"message": "not today", "http_code": 403}})
    with pytest.raises(HookRefused) as caught:
        parse_output("f", output, CLAIMS)
    assert (caught.value.http_status, caught.value.message) == (
        403,
        "The application refuses the token: not today.",
    )


@given(st.dictionaries(st.sampled_from([*CLAIMS, "amr", "nbf", "x"]), ANYTHING))
def test_whatever_comes_back_is_for_the_same_user_or_refused(changes: dict[str, Any]) -> None:
    try:
        made = parse_output("f", json.dumps({"claims": {**CLAIMS, **changes}}), CLAIMS)
    except HookInvalid:
        return
    assert all(made[name] == CLAIMS[name] for name in KEPT)
    assert type(made["exp"]) is int


@given(st.none() | st.text(max_size=10) | ANYTHING.map(json.dumps))
def test_whatever_text_comes_back_is_refused(text: str | None) -> None:
    with pytest.raises((HookInvalid, HookRefused)):
        parse_output("f", text, CLAIMS)
