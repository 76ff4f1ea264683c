"""Secrets of tenants, sealed so that the database alone gives nothing away.

Envelope encryption: each tenant has a key of its own, which seals its secrets for the one place
each stands in; the master key, which no database ever sees, seals those keys. So rotating the
master key touches no secret, rotating a tenant's key touches only its own, and destroying a
tenant's key destroys whatever it ever sealed.

    vault = open_vault(system.database("master"), system.settings, columns=SEALED_COLUMNS)
    await vault.unlock()
    sealed = await vault.seal(b"...", SealContext(...))
"""

from bulkhead.capabilities.vault.errors import (
    MasterKeyMissing,
    MasterKeyUnusable,
    MasterKeyWrong,
    SecretDestroyed,
)
from bulkhead.capabilities.vault.master_keys import MasterKeys
from bulkhead.capabilities.vault.vault import Vault, open_vault, vault_migrations

__all__ = [
    "MasterKeyMissing",
    "MasterKeyUnusable",
    "MasterKeyWrong",
    "MasterKeys",
    "SecretDestroyed",
    "Vault",
    "open_vault",
    "vault_migrations",
]
