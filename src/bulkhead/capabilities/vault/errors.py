"""What can go wrong with keys; none of these says anything of a key but its id."""

from bulkhead.engine.errors import BulkheadError, Conflict
from bulkhead.engine.sealing import SealBroken


class MasterKeyMissing(BulkheadError):
    """Database '{database}' is sealed with master key {id}, which is not in {path}."""

    code = "secret_master_key_missing"
    hint = "Put the file back, or take the key from an export: bulkhead secret import-key FILE."


class MasterKeyWrong(BulkheadError):
    """The keyring of database '{database}' does not fit the master key {id} in {path}."""

    code = "secret_master_key_wrong"
    hint = "Use the key that belongs to this database, or restore the keyring that does."


class MasterKeyUnusable(BulkheadError):
    """The master key in {path} cannot be used: {reason}."""

    code = "secret_master_key_unusable"
    hint = (
        "Put back the file, from your copy or an export: bulkhead secret import-key FILE; "
        "or see why the command of BULKHEAD_MASTER_KEY_COMMAND prints no keys."
    )


class ExportUnusable(BulkheadError):
    """The export in '{path}' cannot be opened: {reason}."""

    code = "secret_export_unusable"
    status = 422
    hint = "Check the passphrase and the file."


class RotationRefused(Conflict):
    """The key cannot be rotated: {reason}."""

    code = "secret_rotation_refused"


class SecretDestroyed(SealBroken):
    """The key of {place} was destroyed, and with it what it sealed."""

    code = "secret_destroyed"
    status = 410
    hint = "Set the secret anew."
