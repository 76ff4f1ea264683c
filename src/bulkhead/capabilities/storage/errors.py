"""What can go wrong with a bucket.

Of what a storage answered they say its error code alone: an answer may repeat what was signed.
"""

from bulkhead.engine.errors import BulkheadError, Conflict, Invalid, NotFound, Unavailable


class StorageConfigInvalid(Invalid):
    """The storage connection is not acceptable: {reason}."""

    code = "storage_config_invalid"


class StorageCredentialsRefused(Invalid):
    """The storage refuses the credentials for bucket '{bucket}': {reason}."""

    code = "storage_credentials_refused"
    hint = (
        "Check the keys, the region, and that they may read, write and delete objects in the "
        "bucket; then set the connection anew."
    )


class BucketUnknown(Invalid):
    """The storage has no bucket '{bucket}'."""

    code = "bucket_unknown"
    hint = "Make the bucket first, in the region that the connection names."


class ObjectUnknown(NotFound):
    """There is no object '{key}' in the bucket."""

    code = "object_unknown"


class ObjectNameRefused(Invalid):
    """An object cannot be called '{key}': {reason}."""

    code = "object_name_refused"


class ObjectMisframed(Invalid):
    """The file has {given} bytes, and {declared} were announced."""

    code = "object_misframed"


class ObjectChanged(Conflict):
    """The object '{key}' was replaced while it was read."""

    code = "object_changed"
    hint = "Try again."


class StorageUnreachable(Unavailable):
    """The storage of bucket '{bucket}' does not answer: {reason}."""

    code = "storage_unreachable"
    retry_after_s = 10
    hint = "Try again in a moment; if it stays so, see what the storage's provider says."


class StorageAnswerUnusable(BulkheadError):
    """The storage of bucket '{bucket}' answered what cannot be used: {reason}."""

    code = "storage_answer_unusable"
    status = 502
    hint = "Check that the endpoint is one of an object storage that speaks the protocol of S3."
