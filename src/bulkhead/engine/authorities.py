"""TLS contexts of clients: by whose certificates a server is believed.

Each is made once. To read the authorities of the system takes some 20 ms in which the event loop
does nothing else, and a context may serve any number of connections at once.
"""

from __future__ import annotations

import ssl
from functools import lru_cache
from pathlib import Path
from typing import Final

CONTEXTS_MAX: Final = 64
"""Servers of customers may each have an authority of their own."""


def client_context(
    *,
    ca_file: Path | None = None,
    ca_pem: str | None = None,
    verified: bool = True,
    names_verified: bool = True,
) -> ssl.SSLContext:
    """The context for authorities in a file and a text (PEM), or else for those of the system.

    Shared: nobody may change it. A file that has changed is read anew; that the system's have is
    noticed at the next start. Raises OSError (as ssl.SSLError is) and ValueError for what
    holds no certificates.
    """
    version = None
    if ca_file is not None:
        found = ca_file.stat()
        version = (found.st_ino, found.st_mtime_ns, found.st_size)
    return _make(ca_file, version, ca_pem, verified, names_verified)


@lru_cache(CONTEXTS_MAX)
def _make(
    ca_file: Path | None,
    _version: tuple[int, ...] | None,
    ca_pem: str | None,
    verified: bool,  # noqa: FBT001 - of a cache
    names_verified: bool,  # noqa: FBT001
) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=ca_file, cadata=ca_pem)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = verified and names_verified
    context.verify_mode = ssl.CERT_REQUIRED if verified else ssl.CERT_NONE
    return context
