"""Where a link in a mail may lead: tokens travel there, so only to places the operator named."""

from collections.abc import Iterable
from urllib.parse import urlsplit

Origin = tuple[str, str, int | None]

_LENGTH_MAX = 2000
_WEB = frozenset({"http", "https"})
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


def choose_redirect(wanted: str | None, site_url: str, allowed: Iterable[str]) -> str:
    """`wanted` if it is on the site of `site_url` or one of `allowed`, else `site_url`.

    Where the site is on this machine, any page on this machine will do: its port is whatever the
    developer's tools gave it.
    """
    if not wanted or len(wanted) > _LENGTH_MAX or not _is_plain(wanted):
        return site_url
    place = _origin(wanted)
    site = _origin(site_url)
    if place is not None and site is not None and (place == site or _are_local(place, site)):
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


def _origin(url: str) -> Origin | None:
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


def _are_local(*places: Origin) -> bool:
    return all(scheme in _WEB and host in _LOOPBACK for scheme, host, _ in places)


def _is_plain(url: str) -> bool:
    """Whether browsers and we read the same: no backslashes, spaces or control characters."""
    return url.isascii() and url.isprintable() and not set(url) & set("\\ \"'<>`")
