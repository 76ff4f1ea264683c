"""Opens buckets: every connection to one goes where the egress guard allows, and nowhere else.

The client of the storages looks names up by itself, follows redirects of reads, and keeps whatever
it is answered in memory. So it is never given the way out: it speaks through the egress proxy,
which checks each host again and lets only so much come back. Nothing is taken from the environment:
the platform's own keys are not for its customers' storages.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from obstore.exceptions import BaseError
from obstore.store import GCSStore, S3Store

from bulkhead.capabilities.storage.bucket import Bucket
from bulkhead.capabilities.storage.errors import StorageConfigInvalid
from bulkhead.capabilities.storage.model import StorageConfig, StorageKind
from bulkhead.engine.clock import monotonic_s
from bulkhead.engine.egress.proxy import EgressProxy

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig

    from bulkhead.engine.egress import Egress

OPEN_MAX: Final = 64
OPEN_S_MAX: Final = 300.0
"""After which a bucket is opened anew, with its host checked again."""
CONNECT_TIMEOUT_S: Final = 5
REQUEST_TIMEOUT_S: Final = 20
READ_TIMEOUT_S: Final = 10
ANSWERS_BYTES_MAX: Final = 16 * 2**20
"""Of one connection: the client keeps whatever a storage answers in memory."""
RETRIES_MAX: Final = 2
RETRY_S_MAX: Final = 20


@dataclass(slots=True, eq=False)
class Buckets:
    """The open buckets of a process, and the proxy that they are reached through."""

    egress: Egress
    root_certificate: bytes | None = field(default=None, repr=False)
    """A certificate to trust besides the system's, as PEM."""
    _stack: AsyncExitStack = field(default_factory=AsyncExitStack)
    _proxy: EgressProxy | None = None
    _starting: asyncio.Lock = field(default_factory=asyncio.Lock)
    _open: OrderedDict[bytes, tuple[Bucket, float]] = field(default_factory=OrderedDict)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Buckets]:
        """Close them at the end of the block."""
        try:
            yield self
        finally:
            await self.close()

    async def open(self, config: StorageConfig) -> Bucket:
        """The bucket, which may not be there; raises HostRefused, PortRefused. Asks nobody."""
        key, now_s = config.digest, monotonic_s()
        known = self._open.pop(key, None)
        if known is None or known[1] < now_s:
            await self.egress.check_url(config.endpoint)
            proxy = await self._ensure_proxy()
            known = (_build(config, proxy.url, self.root_certificate), now_s + OPEN_S_MAX)
        self._open[key] = known
        while len(self._open) > OPEN_MAX:
            self._open.popitem(last=False)
        return known[0]

    async def close(self) -> None:
        """Forget the buckets, and end the proxy; whoever opens one later begins anew."""
        self._open.clear()
        stack, self._stack, self._proxy = self._stack, AsyncExitStack(), None
        await stack.aclose()

    async def _ensure_proxy(self) -> EgressProxy:
        async with self._starting:
            if self._proxy is None:
                proxy = EgressProxy(self.egress, received_bytes_max=ANSWERS_BYTES_MAX)
                self._proxy = await self._stack.enter_async_context(proxy.serving())
        return self._proxy


def _build(config: StorageConfig, proxy_url: str, root_certificate: bytes | None) -> Bucket:
    options: ClientConfig = {
        "allow_http": urlsplit(config.endpoint).scheme == "http",
        "allow_invalid_certificates": False,
        "connect_timeout": dt.timedelta(seconds=CONNECT_TIMEOUT_S),
        "read_timeout": dt.timedelta(seconds=READ_TIMEOUT_S),
        "timeout": dt.timedelta(seconds=REQUEST_TIMEOUT_S),
        "user_agent": "bulkhead",
        "proxy_url": proxy_url,
        "proxy_excludes": "",
    }
    if root_certificate is not None:
        options["root_certificate"] = root_certificate
    retry: RetryConfig = {
        "max_retries": RETRIES_MAX,
        "retry_timeout": dt.timedelta(seconds=RETRY_S_MAX),
        "backoff": {
            "init_backoff": dt.timedelta(milliseconds=100),
            "max_backoff": dt.timedelta(seconds=2),
            "base": 2,
        },
    }
    make = _google if config.kind is StorageKind.GOOGLE else _s3
    try:
        return Bucket(config.bucket, make(config, options, retry), config.place)
    except (BaseError, ValueError, TypeError):
        # Without the cause, which may repeat the key that cannot be read.
        raise StorageConfigInvalid(reason="its keys are not in a form that can be used") from None


def _s3(config: StorageConfig, options: ClientConfig, retry: RetryConfig) -> S3Store:
    def credentials() -> Any:  # noqa: ANN401 - the client's own kind of dictionary
        return {
            "access_key_id": config.access_key_id,
            "secret_access_key": config.secret,
            "token": config.session_token or None,
            "expires_at": None,
        }

    return S3Store(
        config.bucket,
        config={
            "endpoint": config.endpoint,
            "aws_endpoint_url_s3": config.endpoint,
            "region": config.region,
            "virtual_hosted_style_request": False,
            "disable_bulk_delete": True,
            "disable_tagging": True,
            "request_payer": False,
            "skip_signature": False,
            "unsigned_payload": False,
            "s3_express": False,
        },
        client_options=options,
        retry_config=retry,
        credential_provider=credentials,
    )


def _google(config: StorageConfig, options: ClientConfig, retry: RetryConfig) -> GCSStore:
    # Made here and not passed on: the client would also believe a file that names other hosts.
    key = {
        "type": "service_account",
        "client_email": config.access_key_id,
        "private_key": config.secret,
        "private_key_id": config.key_id,
    }
    return GCSStore(
        config.bucket,
        config={
            "service_account_key": json.dumps(key),
            "base_url": config.endpoint,
            "skip_signature": False,
        },
        client_options=options,
        retry_config=retry,
    )
