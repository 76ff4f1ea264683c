from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.capabilities.payments.provider import WebhookRefused
from bulkhead.capabilities.payments.signature import HEADER, TOLERANCE_S, sign, verify_signature

KEY = "the harbour master"
BODY = b'{"id":"evt_1","amount":"10.00"}'
NOW = 1_760_000_000
GOOD = sign(KEY, BODY, NOW)
DIGEST = GOOD.partition("v1=")[2]

REFUSED: dict[str, tuple[Mapping[str, str], bytes, str]] = {
    "no header at all": ({}, BODY, "missing"),
    "an empty header": ({HEADER: ""}, BODY, "missing"),
    "blanks": ({HEADER: "   "}, BODY, "missing"),
    "another header's name": ({"x-signature": GOOD}, BODY, "missing"),
    "a wrong digest": ({HEADER: f"t={NOW},v1={'0' * 64}"}, BODY, "wrong"),
    "a digest that is cut off": ({HEADER: f"t={NOW},v1={DIGEST[:-1]}"}, BODY, "wrong"),
    "an empty digest": ({HEADER: f"t={NOW},v1="}, BODY, "wrong"),
    "a digest in capitals": ({HEADER: f"t={NOW},v1={DIGEST.upper()}"}, BODY, "wrong"),
    "another secret": ({HEADER: sign("another master", BODY, NOW)}, BODY, "wrong"),
    "an altered body": ({HEADER: GOOD}, BODY.replace(b"10.00", b"99.00"), "wrong"),
    "an empty body": ({HEADER: GOOD}, b"", "wrong"),
    "an altered timestamp": ({HEADER: f"t={NOW + 1},v1={DIGEST}"}, BODY, "wrong"),
    "letters beyond ASCII": ({HEADER: f"t={NOW},v1={'é' * 64}"}, BODY, "wrong"),
    "a lone surrogate": ({HEADER: f"t={NOW},v1=\udce9"}, BODY, "wrong"),
    "only an older scheme": ({HEADER: f"t={NOW},v0={DIGEST}"}, BODY, "malformed"),
    "no timestamp": ({HEADER: f"v1={DIGEST}"}, BODY, "malformed"),
    "two timestamps": ({HEADER: f"t={NOW},t={NOW},v1={DIGEST}"}, BODY, "malformed"),
    "digits of another script": ({HEADER: f"t=١٢٣,v1={DIGEST}"}, BODY, "malformed"),
    "a negative timestamp": ({HEADER: f"t=-5,v1={DIGEST}"}, BODY, "malformed"),
    "an endless timestamp": ({HEADER: f"t={'9' * 500},v1={DIGEST}"}, BODY, "malformed"),
    "a header without end": ({HEADER: GOOD + ",v1=0" * 1000}, BODY, "malformed"),
    "an old timestamp": (
        {HEADER: sign(KEY, BODY, NOW - TOLERANCE_S - 1)},
        BODY,
        "outdated",
    ),
    "a timestamp in the future": (
        {HEADER: sign(KEY, BODY, NOW + TOLERANCE_S + 1)},
        BODY,
        "outdated",
    ),
}

ACCEPTED = {
    "the right signature": {HEADER: GOOD},
    "a header's name in capitals": {HEADER.upper(): GOOD},
    "a wrong and a right signature": {HEADER: f"t={NOW},v1={'0' * 64},v1={DIGEST}"},
    "a right and a wrong signature": {HEADER: f"t={NOW},v1={DIGEST},v1={'0' * 64}"},
    "another scheme beside it": {HEADER: f"t={NOW},v0=old,v1={DIGEST}"},
    "blanks after the commas": {HEADER: f"t={NOW}, v1={DIGEST}"},
    "the oldest that is fresh": {HEADER: sign(KEY, BODY, NOW - TOLERANCE_S)},
    "a clock that is ahead": {HEADER: sign(KEY, BODY, NOW + TOLERANCE_S)},
}


@pytest.mark.parametrize("probe", REFUSED)
def test_a_webhook_is_refused_with(probe: str) -> None:
    headers, body, code = REFUSED[probe]
    with pytest.raises(WebhookRefused) as refused:
        verify_signature(KEY, headers, body, NOW)
    assert refused.value.code == f"webhook_signature_{code}"
    assert refused.value.status == 400


@pytest.mark.parametrize("probe", ACCEPTED)
def test_a_webhook_is_believed_with(probe: str) -> None:
    verify_signature(KEY, ACCEPTED[probe], BODY, NOW)


@given(header=st.text(max_size=200), body=st.binary(max_size=50))
def test_no_header_does_more_than_be_refused(header: str, body: bytes) -> None:
    with pytest.raises(WebhookRefused):
        verify_signature(KEY, {HEADER: header}, body, NOW)


@given(secret=st.text(min_size=1), body=st.binary(), at_s=st.integers(0, 10**11))
def test_what_was_signed_is_believed(secret: str, body: bytes, at_s: int) -> None:
    verify_signature(secret, {HEADER: sign(secret, body, at_s)}, body, at_s)
