"""Where a link in a mail may lead: tokens travel there, so only to places the operator named."""

from collections.abc import Iterable
from urllib.parse import urlsplit

_LENGTH_MAX = 2000


def choose_redirect(wanted: str | None, site_url: str, allowed: Iterable[str]) -> str:
    """`wanted` if it is on the site of `site_url` or one of `allowed`, else `site_url`."""
    if not wanted or len(wanted) > _LENGTH_MAX or not _is_plain(wanted):
        return site_url
    place = _origin(wanted)
    if place is not None and place == _origin(site_url):
        return wanted
    bare = wanted.partition("#")[0]
    if any(_matches(bare, pattern) for pattern in allowed):
        return wanted
    return site_url


def _matches(url: str, pattern: str) -> bool:
    if not pattern.endswith("*"):
        return url == pattern
    prefix = pattern.rstrip("*")
    # The wildcard stands in the path: `https://a.example*` must not allow `https://a.example.net`.
    path = prefix.partition("://")[2]
    return "/" in path and url.startswith(prefix) and _origin(url) == _origin(prefix)


def _origin(url: str) -> tuple[str, str, int | None] | None:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if not parts.scheme or not parts.hostname or parts.username is not None:
        return None
    if port is None:
        port = {"http": 80, "https": 443}.get(parts.scheme)
    return parts.scheme, parts.hostname, port


def _is_plain(url: str) -> bool:
    """Whether browsers and we read the same: no backslashes, spaces or control characters."""
    return url.isascii() and url.isprintable() and not set(url) & set("\\ \"'<>`")
