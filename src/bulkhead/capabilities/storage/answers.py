"""What a storage answered, put into our words; its own words are not passed on."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError

from bulkhead.capabilities.storage.errors import (
    BucketUnknown,
    ObjectUnknown,
    StorageAnswerUnusable,
    StorageCredentialsRefused,
    StorageUnreachable,
)
from bulkhead.engine.errors import BulkheadError

READ_CHARACTERS: Final = 4096
"""How much of an answer is looked at."""
_CODE: Final = re.compile(r"<Code>([A-Za-z]{1,60})</Code>")
_STATUS: Final = re.compile(r"Server returned non-2xx status code: (\d{3})")
_OF_KEYS: Final = frozenset(
    {
        *("AccessDenied", "AccountProblem", "AllAccessDisabled", "AuthorizationHeaderMalformed"),
        *("ExpiredToken", "IllegalLocationConstraintException", "InvalidAccessKeyId"),
        *("InvalidSecurity", "InvalidToken", "PermanentRedirect", "SignatureDoesNotMatch"),
        *("TokenRefreshRequired", "AuthenticationRequired", "InvalidSignature"),
    }
)
"""Codes that are about the keys, or about the region that is signed with them."""


@asynccontextmanager
async def in_our_words(bucket: str, key: str, timeout_s: float) -> AsyncIterator[None]:
    """Bound what is asked inside the block, and translate what the client raises.

    Raises BucketUnknown, ObjectUnknown, StorageCredentialsRefused, StorageUnreachable,
    StorageAnswerUnusable.
    """
    try:
        async with asyncio.timeout(timeout_s):
            yield
    except TimeoutError:
        raise StorageUnreachable(bucket=bucket, reason=f"not within {timeout_s:g} s") from None
    except (BaseError, OSError, ValueError) as error:
        # Without the cause: it has the answer, and that may repeat what was signed.
        raise translate(error, bucket, key) from None


def translate(error: Exception, bucket: str, key: str) -> BulkheadError:
    """What `error` of the client says; see `in_our_words`."""
    text = str(error)[:READ_CHARACTERS].partition("\n\nDebug source")[0]
    found, status = _CODE.search(text), _STATUS.search(text)
    code = found[1] if found else ""
    if code == "NoSuchBucket":
        return BucketUnknown(bucket=bucket)
    if isinstance(error, FileNotFoundError):
        return ObjectUnknown(key=key)
    if isinstance(error, PermissionDeniedError | UnauthenticatedError) or code in _OF_KEYS:
        return StorageCredentialsRefused(bucket=bucket, reason=code or "no reason is given")
    if status is not None and status[1][0] == "5":
        return StorageUnreachable(bucket=bucket, reason=code or f"status {status[1]}")
    if status is None and "HTTP error" in text:
        return StorageUnreachable(bucket=bucket, reason="no connection, or no answer in time")
    reason = code or (f"status {status[1]}" if status else "it is not what a storage answers")
    return StorageAnswerUnusable(bucket=bucket, reason=reason)
