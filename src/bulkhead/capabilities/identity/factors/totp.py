"""Codes of authenticators: made from a shared secret and the time. Pure.

Source: RFC 6238 (TOTP) over RFC 4226 (HOTP), in the one form that every authenticator knows:
SHA-1, six digits, thirty seconds. The address of the secret is the Key URI format.
"""

import base64
import binascii
import hmac
import secrets
from collections.abc import Iterator
from urllib.parse import quote, urlencode

import segno

DIGITS = 6
PERIOD_S = 30
DRIFT = 1
"""How many periods the clock of an authenticator may be off, either way."""
SECRET_BYTES = 20
MODULE_PIXELS = 3
MARGIN = 4


def create_secret() -> str:
    """Make a secret: 160 bits in base32, as people type it into an authenticator."""
    return base64.b32encode(secrets.token_bytes(SECRET_BYTES)).decode("ascii")


def render_code(secret: bytes, step: int, digits: int = DIGITS) -> str:
    """The code of a period of PERIOD_S, counted since 1970."""
    digest = hmac.digest(secret, step.to_bytes(8, "big"), "sha1")
    offset = digest[-1] & 0x0F
    number = int.from_bytes(digest[offset : offset + 4], "big") & 0x7FFF_FFFF
    return f"{number % 10**digits:0{digits}}"


def find_step(secret: str, code: str, at_s: float, after: int | None) -> int | None:
    """The period that `code` belongs to, if it is about now and later than `after`.

    Looks at every period that may be meant, whichever it is, so that the time it takes tells
    nothing.
    """
    key, shown = decode_secret(secret), code.strip().encode(errors="replace")
    now = int(at_s // PERIOD_S)
    found = None
    for step in range(now - DRIFT, now + DRIFT + 1):
        fits = hmac.compare_digest(render_code(key, step).encode(), shown)
        if fits and (after is None or step > after):
            found = step
    return found


def decode_secret(secret: str) -> bytes:
    """The bytes of a secret in base32, padded or not; raises ValueError."""
    text = secret.strip().rstrip("=").upper()
    try:
        return base64.b32decode(text + "=" * (-len(text) % 8))
    except binascii.Error:
        message = "not base32"
        raise ValueError(message) from None


def render_uri(issuer: str, account: str, secret: str) -> str:
    """What an authenticator reads from a QR code."""
    label = f"{quote(issuer, safe='')}:{quote(account, safe='@')}"
    query = {
        "algorithm": "SHA1",
        "digits": DIGITS,
        "issuer": issuer,
        "period": PERIOD_S,
        "secret": secret,
    }
    return f"otpauth://totp/{label}?{urlencode(query, quote_via=quote)}"


def render_qr(text: str) -> str:
    """`text` as a QR code in SVG.

    Without the character `#`, since clients put it into a `data:` address as it stands.
    """
    code = segno.make(text, error="l", micro=False)
    size = code.symbol_size(border=MARGIN)[0]
    dots = "".join(f"M{x} {y}h{width}v1h-{width}z" for x, y, width in _runs(code))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{size * MODULE_PIXELS}" '
        f'height="{size * MODULE_PIXELS}" viewBox="0 0 {size} {size}" '
        'shape-rendering="crispEdges">'
        f'<path fill="white" d="M0 0h{size}v{size}h-{size}z"/>'
        f'<path fill="black" d="{dots}"/></svg>'
    )


def _runs(code: segno.QRCode) -> Iterator[tuple[int, int, int]]:
    """Where dark modules stand next to one another: column, row and how many."""
    for y, row in enumerate(code.matrix_iter(border=MARGIN)):
        start = None
        for x, dark in enumerate((*row, 0)):
            if dark and start is None:
                start = x
            elif not dark and start is not None:
                yield start, y, x - start
                start = None
