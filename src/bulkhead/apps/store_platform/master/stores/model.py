"""What a store is called, and what may be said of it."""

from __future__ import annotations

import re
import unicodedata
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from bulkhead.engine.errors import Conflict, Invalid

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


class StoreHasDatabase(Conflict):
    """The store cannot be deleted while its database is '{status}'."""

    code = "store_has_database"


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


def _printable(text: str) -> str:
    if not text.strip() or not text.isprintable():
        message = "must have printable characters"
        raise ValueError(message)
    return text.strip()


Name = Annotated[str, Field(min_length=1, max_length=255), AfterValidator(_printable)]
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
