"""The `Accept` and `Content-Type` headers."""

import re
from functools import lru_cache

JSON = "application/json"
ANY = "*/*"

_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?")
_KNOWN = frozenset(
    {
        JSON,
        "application/octet-stream",
        "application/x-www-form-urlencoded",
        "text/csv",
        "text/plain",
        "text/xml",
    }
)


@lru_cache(maxsize=1024)
def parse_accept(header: str) -> tuple[str, ...]:
    """Media types, best first: by quality, then the more specific ones, then as they stand."""
    ranked = []
    for part in header.split(","):
        text = part.replace(" ", "")
        media_type, _, rest = text.partition(";q=")
        number = _NUMBER.match(rest)
        quality = float(number[0]) if number else 1.0
        ranked.append((quality, text.count(";") - text.count("*"), media_type))
    ranked.sort(key=lambda one: one[:2], reverse=True)
    return tuple(media_type for _, _, media_type in ranked)


@lru_cache(maxsize=256)
def parse_content_type(header: str) -> str:
    """The media type of a body without parameters; one that is not known as it came."""
    name = header.partition(";")[0].strip().lower()
    if name in _KNOWN:
        return name
    if name in ("application/vnd.pgrst.array", "application/vnd.pgrst.array+json"):
        return JSON
    return header
