"""Who a transaction acts for: nobody, a verified user, or the application itself."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from uuid import UUID


class Role(StrEnum):
    """The database role that a transaction takes on; Supabase's names."""

    ANON = "anon"
    AUTHENTICATED = "authenticated"
    SERVICE = "service_role"


@dataclass(frozen=True, slots=True)
class Claims:
    """The verified claims of a transaction; build them with the functions below.

    `payload` is what SQL sees as `auth.jwt()`. Whoever builds `Claims` for a user vouches that a
    signature was checked.
    """

    role: str
    """One of `Role`; a database that was not made by us may have others."""
    payload: Mapping[str, Any] = field(default_factory=dict)
    json: str = ""

    @property
    def subject(self) -> UUID | None:
        """The user's id, None for anonymous and service transactions."""
        subject = self.payload.get("sub")
        return UUID(subject) if isinstance(subject, str) else None

    @property
    def app_role(self) -> str | None:
        """`app_metadata.role`: `staff`, `admin` or whatever the application gave the user."""
        metadata = self.payload.get("app_metadata")
        role = metadata.get("role") if isinstance(metadata, Mapping) else None
        return role if isinstance(role, str) else None


def authenticated(payload: Mapping[str, Any]) -> Claims:
    """Claims of a signed-in user from the payload of a verified token."""
    payload = {**payload, "role": Role.AUTHENTICATED.value}
    return Claims(Role.AUTHENTICATED, payload, json.dumps(payload, separators=(",", ":")))


def user(user_id: UUID, **extra: object) -> Claims:
    """Claims of the user `user_id`, for the command line and for tests."""
    return authenticated({"sub": str(user_id), "aud": "authenticated", **extra})


ANON = Claims(Role.ANON, {"role": "anon"}, '{"role":"anon"}')
SERVICE = Claims(Role.SERVICE, {"role": "service_role"}, '{"role":"service_role"}')
