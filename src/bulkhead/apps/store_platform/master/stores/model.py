"""What a store is called, and what may be said of it."""

from __future__ import annotations

import datetime as dt
import re
import unicodedata
from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from bulkhead.apps.store_platform.master.billing.model import PlanName, SubscriptionStatus
from bulkhead.engine.errors import Conflict, Invalid
from bulkhead.http.described import Described
from bulkhead.http.texts import ShownLine

STORES_MAX: Final = 25
"""Of one owner, where `STORES_SETTING` says nothing."""
STORES_SETTING: Final = "stores_per_owner"
"""The platform's setting for all owners; with a dot and the id of an owner, in hexadecimal digits
alone, for that one."""
SLUG_CHARACTERS_MIN: Final = 3
SLUG_CHARACTERS_MAX: Final = 63
SLUG: Final = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
RESERVED: Final = frozenset(
    {
        *("admin", "api", "app", "assets", "auth", "billing", "bulkhead", "dashboard", "docs"),
        *("help", "mail", "master", "platform", "postgres", "root", "shop", "staff", "static"),
        *("status", "store", "stores", "support", "system", "template", "www"),
    }
)
"""What a store cannot be called, because an address of the platform may be."""


class SlugRefused(Invalid):
    """A store cannot have the slug '{slug}': {reason}."""

    code = "slug_refused"
    hint = "Use 3 to 63 lower-case letters, digits and single hyphens in between."


class SlugTaken(Conflict):
    """There is a store with the slug '{slug}' already."""

    code = "slug_taken"
    hint = "Choose another one."


class StoreLimitReached(Conflict):
    """An owner has {limit} stores at most, and no more are left."""

    code = "store_limit_reached"
    hint = "Delete one that is not needed, or ask who runs the platform for more."


class StoreNotDeleted(Conflict):
    """The store is not deleted: its database is '{status}'."""

    code = "store_not_deleted"
    hint = (
        "Where it is switched off, switch it on: PATCH /store_platform/stores/<id> with is_active "
        "true."
    )


class StoreHasDatabase(Conflict):
    """The store cannot be deleted while its database is '{status}'."""

    code = "store_has_database"
    hint = "Wait until its provisioning job has ended, or cancel that."


def parse_slug(text: str) -> str:
    """The slug that `text` is; raises SlugRefused."""
    shown = text[:80].encode("ascii", "backslashreplace").decode()
    if not SLUG_CHARACTERS_MIN <= len(text) <= SLUG_CHARACTERS_MAX:
        reason = f"it has {len(text)} characters"
    elif not SLUG.fullmatch(text):
        reason = "it has other characters, or hyphens at its ends or side by side"
    elif text in RESERVED:
        reason = "the platform keeps it for itself"
    else:
        return text
    raise SlugRefused(slug=shown, reason=reason)


def make_slug(name: str) -> str:
    """A slug for a store called `name`: its letters without accents; raises SlugRefused."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    words = "-".join(re.findall(r"[a-z0-9]+", plain))
    return parse_slug(words[:SLUG_CHARACTERS_MAX].strip("-"))


def choose_limit(settings: Sequence[object]) -> int:
    """The first of `settings` that is a whole number from 0 up, else `STORES_MAX`."""
    for value in settings:
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return value
    return STORES_MAX


def _said(text: str) -> str:
    if not text.strip():
        message = "must not be blank"
        raise ValueError(message)
    return text.strip()


Name = Annotated[str, Field(min_length=1, max_length=255), ShownLine, AfterValidator(_said)]
Currency = Annotated[str, Field(pattern=r"^[A-Z]{3}$")]


class StoreBody(BaseModel):
    """A store that shall be made."""

    model_config = ConfigDict(extra="forbid")
    name: Name
    slug: str | None = Field(default=None, max_length=200)
    currency: Currency = "USD"


class StoreChange(BaseModel):
    """What shall be another about a store."""

    model_config = ConfigDict(extra="forbid")
    name: Name | None = None
    slug: str | None = Field(default=None, max_length=200)
    is_active: bool | None = None
    is_published: bool | None = None


class Store(Described):
    """A store, with its plan and what it uses of it."""

    id: UUID
    name: str
    slug: str
    owner_id: UUID
    currency: Currency
    database_type: Literal["supabase-database", "postgresql", "mysql"] | None
    database_host: str | None
    database_name: str | None
    database_status: Literal[
        "none", "provisioning", "active", "suspended", "moving", "deleting", "deleted", "failed"
    ]
    storage_type: Literal["supabase-storage", "google-cloud-storage", "aws-s3"] | None
    storage_status: Literal["none", "active", "suspended", "failed"]
    subscription_plan: PlanName
    subscription_status: SubscriptionStatus
    trial_ends_at: dt.datetime | None
    subscription_started_at: dt.datetime | None
    product_count: int
    order_count: int
    storage_used_bytes: int
    api_calls_month: int
    is_active: bool
    is_published: bool
    last_activity_at: dt.datetime | None
    created_at: dt.datetime
    updated_at: dt.datetime


class StoresPage(Described):
    """A page of stores, with the cursor of the next one."""

    stores: list[Store]
    next: str | None


class Integration(Described):
    """What a store is connected to; never a secret."""

    id: UUID
    integration_type: str
    purpose: Literal["database", "storage"]
    is_active: bool
    config_data: dict[str, Any]
    connection_status: Literal["untested", "working", "failed"]
    last_error: str | None
    tested_at: dt.datetime | None
    created_at: dt.datetime
    updated_at: dt.datetime


class ConnectedStore(Store):
    """A store with what it is connected to."""

    integrations: list[Integration]


class Closing(Described):
    """A store that is closed; its database is dropped at `purge_at`."""

    database_status: Literal["deleting"]
    purge_at: dt.datetime


class AuditEntry(Described):
    """What was done to a store, and by whom; `actor_id` is null for the platform itself."""

    id: UUID
    position: int
    store_id: UUID
    actor_id: UUID | None
    action: str
    details: dict[str, Any]
    created_at: dt.datetime


class AuditEntries(Described):
    """What was done to a store, the newest first."""

    entries: list[AuditEntry]
