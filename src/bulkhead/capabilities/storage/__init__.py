"""Buckets of customers: a store's files lie in a storage that its owner pays for.

Three kinds, two protocols: Amazon S3 and whatever speaks its protocol, Supabase Storage by the S3
protocol that it has, and Google Cloud Storage. Every host that a customer names passes the egress
guard, and only the fields of a credential that are needed are taken from it.

    async with Buckets(egress).serving() as buckets:
        bucket = await buckets.open(config)
        await bucket.put("stores/1/a.png", pieces, size_bytes=4, content_type="image/png")
        url = await bucket.sign("GET", "stores/1/a.png", expires_s=900)
"""

from bulkhead.capabilities.storage.bucket import (
    SIGNED_S_MAX,
    Bucket,
    Disposition,
    ObjectHead,
    ObjectInfo,
    Stored,
    render_disposition,
)
from bulkhead.capabilities.storage.buckets import Buckets
from bulkhead.capabilities.storage.errors import (
    BucketUnknown,
    ObjectChanged,
    ObjectMisframed,
    ObjectNameRefused,
    ObjectUnknown,
    StorageAnswerUnusable,
    StorageConfigInvalid,
    StorageCredentialsRefused,
    StorageUnreachable,
)
from bulkhead.capabilities.storage.model import StorageConfig, StorageKind, supabase_endpoint

__all__ = [
    "SIGNED_S_MAX",
    "Bucket",
    "BucketUnknown",
    "Buckets",
    "Disposition",
    "ObjectChanged",
    "ObjectHead",
    "ObjectInfo",
    "ObjectMisframed",
    "ObjectNameRefused",
    "ObjectUnknown",
    "StorageAnswerUnusable",
    "StorageConfig",
    "StorageConfigInvalid",
    "StorageCredentialsRefused",
    "StorageKind",
    "StorageUnreachable",
    "Stored",
    "render_disposition",
    "supabase_endpoint",
]
