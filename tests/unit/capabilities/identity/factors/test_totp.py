"""Codes as RFC 6238 has them, and what an authenticator is told."""

import base64
import re
from urllib.parse import parse_qs, unquote, urlsplit
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.capabilities.identity.factors.totp import (
    DRIFT,
    PERIOD_S,
    create_secret,
    decode_secret,
    find_step,
    render_code,
    render_qr,
    render_uri,
)

# RFC 4226 appendix D and RFC 6238 appendix B, for SHA-1.
SEED = b"12345678901234567890"
SECRET = base64.b32encode(SEED).decode()


@pytest.mark.parametrize(
    ("counter", "code"),
    [
        *enumerate(("755224", "287082", "359152", "969429", "338314")),
        *enumerate(("254676", "287922", "162583", "399871", "520489"), start=5),
    ],
)
def test_the_vectors_of_rfc_4226(counter: int, code: str) -> None:
    assert render_code(SEED, counter) == code


@pytest.mark.parametrize(
    ("at_s", "code"),
    [
        (59, "94287082"),
        (1111111109, "07081804"),
        (1111111111, "14050471"),
        (1234567890, "89005924"),
        (2000000000, "69279037"),
        (20000000000, "65353130"),
    ],
)
def test_the_vectors_of_rfc_6238(at_s: int, code: str) -> None:
    assert render_code(SEED, at_s // PERIOD_S, digits=8) == code
    assert find_step(SECRET, code[2:], at_s, None) == at_s // PERIOD_S


@given(st.integers(100, 2**33), st.integers(-3, 3))
def test_a_clock_may_be_one_period_off(at_s: int, periods: int) -> None:
    step = at_s // PERIOD_S + periods
    found = find_step(SECRET, render_code(SEED, step), at_s, None)
    if abs(periods) <= DRIFT:
        assert found is not None
    elif found is not None:
        # One in a hundred thousand pairs of periods has the same code.
        assert render_code(SEED, found) == render_code(SEED, step)


@given(st.integers(100, 2**33))
def test_a_code_counts_once_and_no_earlier_one_after_it(at_s: int) -> None:
    now = at_s // PERIOD_S
    for step in (now - 1, now, now + 1):
        found = find_step(SECRET, render_code(SEED, step), at_s, after=step)
        assert found is None or found > step


@pytest.mark.parametrize(
    "code",
    ["", "28708", "2870822", "\uff12\uff18\uff17\uff10\uff18\uff12", "abcdef", "\ud800", "287 082"],
)
def test_what_is_no_code_is_none(code: str) -> None:
    assert find_step(SECRET, code, 59, None) is None


def test_blanks_around_a_code_do_not_matter() -> None:
    assert find_step(SECRET, " 287082\n", 59, None) == 1


def test_secrets_are_160_bits_and_differ() -> None:
    secrets = {create_secret() for _ in range(100)}
    assert len(secrets) == 100
    assert {len(decode_secret(secret)) for secret in secrets} == {20}
    assert all(re.fullmatch("[A-Z2-7]{32}", secret) for secret in secrets)


@given(st.binary(min_size=1, max_size=64))
def test_secrets_are_read_padded_or_not(key: bytes) -> None:
    text = base64.b32encode(key).decode()
    assert decode_secret(text) == decode_secret(text.rstrip("=").lower()) == key


@pytest.mark.parametrize("text", ["1", "a!", "AAAAAAA1"])
def test_a_secret_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not base32"):
        decode_secret(text)


@given(st.text(min_size=1, max_size=64), st.text(min_size=1, max_size=80))
def test_an_authenticator_reads_the_names_as_they_were_written(issuer: str, account: str) -> None:
    try:
        uri = render_uri(issuer, account, SECRET)
    except UnicodeEncodeError:
        return  # lone surrogates never get so far
    parts = urlsplit(uri)
    assert (parts.scheme, parts.netloc) == ("otpauth", "totp")
    assert [unquote(part) for part in parts.path[1:].split(":", 1)] == [issuer, account]
    assert parse_qs(parts.query, keep_blank_values=True) == {
        "algorithm": ["SHA1"],
        "digits": ["6"],
        "issuer": [issuer],
        "period": ["30"],
        "secret": [SECRET],
    }


@pytest.mark.parametrize("account", ["ada@example.com", "ä" * 80, "x" * 255])
def test_the_picture_is_svg_that_fits_into_a_data_address(account: str) -> None:
    picture = render_qr(render_uri("127.0.0.1:8000", account, SECRET))
    root = ET.fromstring(picture)  # noqa: S314 - ours
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert not set(picture) & set("#%\n")
    assert int(root.attrib["width"]) >= 3 * 29
