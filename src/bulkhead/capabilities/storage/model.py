"""How a bucket is reached: fields that are checked once, never an address with more in it."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, Self
from urllib.parse import urlsplit

from bulkhead.capabilities.storage.errors import StorageConfigInvalid

TEXT_CHARACTERS_MAX: Final = 255
SECRET_CHARACTERS_MAX: Final = 4096
ENDPOINT_CHARACTERS_MAX: Final = 1000
KEY_JSON_CHARACTERS_MAX: Final = 16_384
SUPABASE_SUFFIX: Final = ".supabase.co"
SUPABASE_PATH: Final = "/storage/v1/s3"
GOOGLE: Final = "https://storage.googleapis.com"
_REGION: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")
_BUCKET: Final = re.compile(r"[a-z0-9]([a-z0-9.-]{1,61})[a-z0-9]")
_BUCKET_SUPABASE: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,98}[A-Za-z0-9])?")
_BUCKET_GOOGLE: Final = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]")
_ACCESS_KEY: Final = re.compile(r"[\x21-\x7e]{1,255}")
_PATH: Final = re.compile(r"(/[A-Za-z0-9._~-]+)*/?")
_EMAIL: Final = re.compile(r"[A-Za-z0-9._%+-]{1,100}@[A-Za-z0-9.-]{1,150}")
_KEY_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")
_PEM: Final = re.compile(
    r"-----BEGIN (RSA )?PRIVATE KEY-----[A-Za-z0-9+/=\s]+-----END (RSA )?PRIVATE KEY-----\s*"
)

_REGION_NEEDED: Final = "the region must be one word, such as eu-central-1"


class StorageKind(StrEnum):
    """Whose storage it is."""

    AWS = "aws-s3"
    """Amazon S3, or with an endpoint whatever speaks its protocol."""
    SUPABASE = "supabase-storage"
    GOOGLE = "google-cloud-storage"


@dataclass(frozen=True, slots=True)
class StorageConfig:
    """A bucket and what opens it; raises StorageConfigInvalid for unusable fields.

    Whether its host may be connected to is for the egress guard to decide.
    """

    kind: StorageKind
    bucket: str
    endpoint: str
    """`https://host[:port][/path]`; buckets stand in the path behind it."""
    region: str = ""
    access_key_id: str = ""
    """Of a service account of Google, its address."""
    secret: str = field(default="", repr=False)
    """The secret access key; of a service account of Google, its private key as PEM."""
    session_token: str = field(default="", repr=False)
    key_id: str = ""
    """Of a service account of Google, the id of its key."""

    def __post_init__(self) -> None:
        is_google = self.kind is StorageKind.GOOGLE
        form = {StorageKind.SUPABASE: _BUCKET_SUPABASE, StorageKind.GOOGLE: _BUCKET_GOOGLE}
        if not form.get(self.kind, _BUCKET).fullmatch(self.bucket) or ".." in self.bucket:
            raise StorageConfigInvalid(reason="the bucket must be the name of one")
        _verify_endpoint(self.endpoint)
        if not is_google and not _REGION.fullmatch(self.region):
            raise StorageConfigInvalid(reason=_REGION_NEEDED)
        if not (_EMAIL if is_google else _ACCESS_KEY).fullmatch(self.access_key_id):
            raise StorageConfigInvalid(reason="the access key id is missing, or is none")
        for text in (self.secret, self.session_token):
            if len(text) > SECRET_CHARACTERS_MAX * 2 or "\0" in text or not text.isascii():
                raise StorageConfigInvalid(reason="a secret is too long, or has odd characters")
        if not self.secret or (not is_google and not self.secret.isprintable()):
            raise StorageConfigInvalid(reason="the secret key is missing, or is none")
        if is_google and not (_PEM.fullmatch(self.secret) and _KEY_ID.fullmatch(self.key_id)):
            raise StorageConfigInvalid(reason="the service account's private key is none")

    @classmethod
    def s3(  # noqa: PLR0913 - as many as a connection has
        cls,
        bucket: str,
        region: str,
        access_key_id: str,
        secret: str,
        *,
        endpoint: str | None = None,
        session_token: str = "",
        kind: StorageKind = StorageKind.AWS,
    ) -> Self:
        """A bucket of Amazon S3, or at `endpoint` of what speaks its protocol.

        Raises StorageConfigInvalid.
        """
        if not _REGION.fullmatch(region):
            raise StorageConfigInvalid(reason=_REGION_NEEDED)
        place = endpoint or f"https://s3.{region}.amazonaws.com"
        return cls(kind, bucket, place.rstrip("/"), region, access_key_id, secret, session_token)

    @classmethod
    def google(cls, bucket: str, service_account: str) -> Self:
        """A bucket of Google Cloud Storage; `service_account` is the JSON of a key.

        Only who it is and its key are taken: where tokens are asked for, and where the storage is,
        is never for such a file to say. Raises StorageConfigInvalid.
        """
        if len(service_account) > KEY_JSON_CHARACTERS_MAX:
            raise StorageConfigInvalid(reason="the service account's key is too long")
        try:
            fields = json.loads(service_account)
        except (ValueError, RecursionError):
            fields = None
        if not isinstance(fields, dict) or fields.get("type") != "service_account":
            raise StorageConfigInvalid(reason="serviceAccountKey must be the JSON of such a key")
        found = [fields.get(name) for name in ("client_email", "private_key", "private_key_id")]
        if not all(isinstance(each, str) for each in found):
            raise StorageConfigInvalid(
                reason="serviceAccountKey must have client_email, private_key and private_key_id"
            )
        email, key, key_id = map(str, found)
        return cls(StorageKind.GOOGLE, bucket, GOOGLE, "", email, key, "", key_id)

    @property
    def place(self) -> tuple[str, str, str]:
        """Which bucket it is, whoever opens it."""
        return self.kind.value, self.endpoint, self.bucket

    @property
    def digest(self) -> bytes:
        """Equal for equal connections, and tells nothing of the secrets."""
        return hashlib.sha256(self.to_bytes()).digest()

    @property
    def shown(self) -> dict[str, Any]:
        """What of it may be shown to its owner."""
        return {
            "bucket": self.bucket,
            "endpoint": self.endpoint,
            "region": self.region or None,
            "accessKeyId": self.access_key_id,
        }

    def to_bytes(self) -> bytes:
        """Render everything, the secrets too, to be sealed."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        return json.dumps({name: value for name, value in fields.items() if value}).encode()

    @classmethod
    def from_bytes(cls, text: bytes) -> Self:
        """Read what `to_bytes` rendered."""
        fields: dict[str, Any] = json.loads(text)
        return cls(kind=StorageKind(fields.pop("kind")), **fields)


def supabase_endpoint(project_url: str) -> str:
    """Where the Storage of a Supabase project speaks the protocol of S3.

    Raises StorageConfigInvalid. Source: Supabase's guide on S3 authentication.
    """
    try:
        parts = urlsplit(project_url)
        host = parts.hostname or ""
    except ValueError:
        host = ""
    reference = host.removesuffix(SUPABASE_SUFFIX).removesuffix(".storage")
    if not host.endswith(SUPABASE_SUFFIX) or not reference.isalnum() or not reference.isascii():
        raise StorageConfigInvalid(reason="projectUrl must be https://<project>.supabase.co")
    return f"https://{reference}.storage{SUPABASE_SUFFIX}{SUPABASE_PATH}"


def _verify_endpoint(endpoint: str) -> None:
    try:
        parts = urlsplit(endpoint)
        host = parts.hostname or ""
    except ValueError:
        host = ""
    if (
        not host
        or len(endpoint) > ENDPOINT_CHARACTERS_MAX
        or not endpoint.isprintable()
        or not endpoint.isascii()
        or set(endpoint) & set(" \\?#@")
        or parts.scheme not in {"https", "http"}
        or not _PATH.fullmatch(parts.path)
        or {".", ".."} & set(parts.path.split("/"))
    ):
        raise StorageConfigInvalid(reason="the endpoint must be https://host[:port][/path]")
