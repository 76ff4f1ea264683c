"""Signed webhooks: `t=<seconds>,v1=<HMAC-SHA256 of "<seconds>.<body>">` in one header.

Source: the signature scheme of Stripe's webhooks. A header may carry several `v1`, while a secret
is being replaced; one that fits is enough.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping

from bulkhead.capabilities.payments.provider import WebhookRefused

HEADER = "payment-signature"
TOLERANCE_S = 300
HEADER_LENGTH_MAX = 2000
SECONDS_DIGITS_MAX = 12


class SignatureMissing(WebhookRefused):
    """The webhook has no signature."""

    code = "webhook_signature_missing"


class SignatureMalformed(WebhookRefused):
    """The webhook's signature does not have the form 't=<seconds>,v1=<hex>'."""

    code = "webhook_signature_malformed"


class SignatureWrong(WebhookRefused):
    """The webhook's signature does not fit its body."""

    code = "webhook_signature_wrong"


class SignatureOutdated(WebhookRefused):
    """The webhook was signed {age_s} s ago; more than {tolerance_s} s either way is too much."""

    code = "webhook_signature_outdated"


def sign(secret: str, body: bytes, at_s: int) -> str:
    """The value of the signature header for `body` when it is sent at `at_s`."""
    return f"t={at_s},v1={_digest(secret, body, at_s)}"


def verify_signature(secret: str, headers: Mapping[str, str], body: bytes, now_s: int) -> None:
    """Pass when one of the header's signatures fits `body` and is fresh; raises WebhookRefused."""
    header = next((value for name, value in headers.items() if name.lower() == HEADER), "")
    if not header.strip():
        raise SignatureMissing
    at_s, candidates = _parse(header)
    expected = _digest(secret, body, at_s).encode()
    fits = False
    for candidate in candidates:
        fits |= hmac.compare_digest(candidate.encode("utf-8", "surrogatepass"), expected)
    if not fits:
        raise SignatureWrong
    if abs(now_s - at_s) > TOLERANCE_S:
        raise SignatureOutdated(age_s=now_s - at_s, tolerance_s=TOLERANCE_S)


def _parse(header: str) -> tuple[int, list[str]]:
    if len(header) > HEADER_LENGTH_MAX:
        raise SignatureMalformed
    instants: list[str] = []
    candidates: list[str] = []
    for part in header.split(","):
        name, _, value = part.strip().partition("=")
        if name == "t":
            instants.append(value)
        elif name == "v1":
            candidates.append(value)
    if len(instants) != 1 or not candidates or not _is_seconds(instants[0]):
        raise SignatureMalformed
    return int(instants[0]), candidates


def _is_seconds(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= SECONDS_DIGITS_MAX


def _digest(secret: str, body: bytes, at_s: int) -> str:
    return hmac.digest(secret.encode(), b"%d.%b" % (at_s, body), "sha256").hex()
