"""Users, their sessions and tokens: values, in the shapes of Supabase's Auth server."""

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NewType
from uuid import UUID

UserId = NewType("UserId", UUID)
SessionId = NewType("SessionId", UUID)

AUDIENCE = "authenticated"


class Method(StrEnum):
    """How somebody proved who they are; the `amr` of the access token."""

    PASSWORD = "password"  # noqa: S105
    CODE = "otp"
    ANONYMOUS = "anonymous"
    EMAIL_SIGN_UP = "email/signup"
    INVITE = "invite"
    MAGIC_LINK = "magiclink"
    RECOVERY = "recovery"
    EMAIL_CHANGE = "email_change"
    REFRESH = "token_refresh"
    TOTP = "totp"


class Channel(StrEnum):
    """How a message reaches somebody."""

    EMAIL = "email"
    SMS = "sms"
    WHATSAPP = "whatsapp"


class CodeKind(StrEnum):
    """What a one-time code is good for; the words of `auth.one_time_tokens.token_type`."""

    CONFIRMATION = "confirmation_token"
    RECOVERY = "recovery_token"
    EMAIL_CHANGE_CURRENT = "email_change_token_current"
    EMAIL_CHANGE_NEW = "email_change_token_new"
    PHONE_CHANGE = "phone_change_token"
    REAUTHENTICATION = "reauthentication_token"


class SignOutScope(StrEnum):
    """Which sessions a sign-out ends."""

    GLOBAL = "global"
    LOCAL = "local"
    OTHERS = "others"


@dataclass(frozen=True, slots=True)
class Client:
    """Where a request comes from, for the session and the audit log."""

    address: str | None = None
    user_agent: str | None = None


@dataclass(frozen=True, slots=True)
class Challenge:
    """What a client that began a sign-in will prove to know at its end (PKCE, RFC 7636)."""

    text: str
    method: str
    """`s256` or `plain`."""


@dataclass(frozen=True, slots=True)
class LinkedIdentity:
    """One way in which a user can sign in; a row of `auth.identities`."""

    identity_id: str
    provider_id: str
    user_id: str
    identity_data: Mapping[str, Any]
    provider: str
    last_sign_in_at: str | None
    created_at: str | None
    updated_at: str | None
    email: str | None

    def to_json(self) -> dict[str, Any]:
        """The form that clients read: `id` is the provider's, `identity_id` ours."""
        return {
            "identity_id": self.identity_id,
            "id": self.provider_id,
            "user_id": self.user_id,
            "identity_data": dict(self.identity_data),
            "provider": self.provider,
            "last_sign_in_at": self.last_sign_in_at,
            "created_at": self.created_at,
            "updated_at": self.updated_at,
            "email": self.email,
        }


class FactorStatus(StrEnum):
    """Whether the user has shown to have the factor."""

    UNVERIFIED = "unverified"
    VERIFIED = "verified"


@dataclass(frozen=True, slots=True)
class Factor:
    """A row of `auth.mfa_factors` without its secret."""

    id: str
    factor_type: str
    status: str
    friendly_name: str | None
    phone: str | None
    created_at: str
    updated_at: str
    last_challenged_at: str | None = None

    @property
    def is_verified(self) -> bool:
        """Whether the user has shown to have it."""
        return self.status == FactorStatus.VERIFIED

    def to_json(self) -> dict[str, Any]:
        """The form that clients read."""
        return {
            "id": self.id,
            "created_at": self.created_at,
            "updated_at": self.updated_at,
            "status": self.status,
            **({"friendly_name": self.friendly_name} if self.friendly_name else {}),
            "factor_type": self.factor_type,
            "phone": self.phone or "",
            "last_challenged_at": self.last_challenged_at,
        }


@dataclass(frozen=True, slots=True)
class UserRow:
    """A row of `auth.users` without its secrets."""

    id: UserId
    email: str
    created_at: dt.datetime
    updated_at: dt.datetime
    role: str = AUDIENCE
    phone: str = ""
    email_confirmed_at: dt.datetime | None = None
    phone_confirmed_at: dt.datetime | None = None
    confirmation_sent_at: dt.datetime | None = None
    recovery_sent_at: dt.datetime | None = None
    new_email: str = ""
    email_change_sent_at: dt.datetime | None = None
    email_change_confirm_status: int = 0
    new_phone: str = ""
    phone_change_sent_at: dt.datetime | None = None
    reauthentication_sent_at: dt.datetime | None = None
    invited_at: dt.datetime | None = None
    last_sign_in_at: dt.datetime | None = None
    banned_until: dt.datetime | None = None
    is_banned: bool = False
    """Whether `banned_until` is still to come, by the database's clock."""
    deleted_at: dt.datetime | None = None
    is_anonymous: bool = False
    app_metadata: Mapping[str, Any] = field(default_factory=dict)
    """What only the application may write, `role` among it."""
    user_metadata: Mapping[str, Any] = field(default_factory=dict)
    """What the user may write."""
    identities: Sequence[LinkedIdentity] = ()
    factors: Sequence[Factor] = ()

    @property
    def is_confirmed(self) -> bool:
        """Whether the user has shown to receive mail at `email`."""
        return self.email_confirmed_at is not None

    @property
    def is_phone_confirmed(self) -> bool:
        """Whether the user has shown to receive messages at `phone`."""
        return self.phone_confirmed_at is not None

    def has_confirmed(self, address: str) -> bool:
        """Whether the user has shown to receive what is sent to an address of this kind."""
        return self.is_phone_confirmed if is_phone(address) else self.is_confirmed

    def to_json(self) -> dict[str, Any]:
        """The user object that Supabase clients read."""
        confirmed_at = [at for at in (self.email_confirmed_at, self.phone_confirmed_at) if at]
        optional = {
            "email_confirmed_at": render_instant(self.email_confirmed_at),
            "phone_confirmed_at": render_instant(self.phone_confirmed_at),
            "confirmed_at": render_instant(min(confirmed_at, default=None)),
            "invited_at": render_instant(self.invited_at),
            "confirmation_sent_at": render_instant(self.confirmation_sent_at),
            "recovery_sent_at": render_instant(self.recovery_sent_at),
            "new_email": self.new_email,
            "email_change_sent_at": render_instant(self.email_change_sent_at),
            "new_phone": self.new_phone,
            "phone_change_sent_at": render_instant(self.phone_change_sent_at),
            "reauthentication_sent_at": render_instant(self.reauthentication_sent_at),
            "last_sign_in_at": render_instant(self.last_sign_in_at),
            "banned_until": render_instant(self.banned_until),
            "deleted_at": render_instant(self.deleted_at),
        }
        return {
            "id": str(self.id),
            "aud": AUDIENCE,
            "role": self.role,
            "email": self.email,
            "phone": self.phone,
            **{name: value for name, value in optional.items() if value},
            "app_metadata": dict(self.app_metadata),
            "user_metadata": dict(self.user_metadata),
            **({"factors": [each.to_json() for each in self.factors]} if self.factors else {}),
            "identities": [identity.to_json() for identity in self.identities],
            "created_at": render_instant(self.created_at),
            "updated_at": render_instant(self.updated_at),
            "is_anonymous": self.is_anonymous,
        }


@dataclass(frozen=True, slots=True)
class Session:
    """A place where a user is signed in, and the token that keeps it so."""

    id: SessionId
    refresh_token: str = field(repr=False)
    amr: Sequence[Mapping[str, Any]] = ()
    aal: str = "aal1"


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a client holds once somebody has signed in."""

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    expires_at: int
    """Seconds since 1970."""
    expires_in: int
    user: UserRow
    session_id: SessionId
    weak_password: Mapping[str, Any] | None = None
    """Why the password, although right, would not be accepted today."""

    def to_json(self) -> dict[str, Any]:
        """The answer of `POST /token`."""
        return {
            "access_token": self.access_token,
            "token_type": "bearer",
            "expires_in": self.expires_in,
            "expires_at": self.expires_at,
            "refresh_token": self.refresh_token,
            "user": self.user.to_json(),
            **({"weak_password": dict(self.weak_password)} if self.weak_password else {}),
        }


def is_phone(address: str) -> bool:
    """Whether an address is a telephone number; it is an e-mail address otherwise."""
    return "@" not in address


def provider_of(address: str) -> str:
    """The name of the way to sign in with an address: `phone` or `email`."""
    return "phone" if is_phone(address) else "email"


def parse_user(row: Mapping[str, Any]) -> UserRow:
    """Read a row of the view of users that the queries share."""
    return UserRow(
        id=UserId(row["id"]),
        email=row["email"] or "",
        role=row["role"] or "",
        phone=row["phone"] or "",
        email_confirmed_at=row["email_confirmed_at"],
        phone_confirmed_at=row["phone_confirmed_at"],
        confirmation_sent_at=row["confirmation_sent_at"],
        recovery_sent_at=row["recovery_sent_at"],
        new_email=row["email_change"] or "",
        email_change_sent_at=row["email_change_sent_at"],
        email_change_confirm_status=row["email_change_confirm_status"] or 0,
        new_phone=row["phone_change"] or "",
        phone_change_sent_at=row["phone_change_sent_at"],
        reauthentication_sent_at=row["reauthentication_sent_at"],
        invited_at=row["invited_at"],
        last_sign_in_at=row["last_sign_in_at"],
        banned_until=row["banned_until"],
        is_banned=row["is_banned"],
        deleted_at=row["deleted_at"],
        is_anonymous=row["is_anonymous"],
        app_metadata=_mapping(row["raw_app_meta_data"]),
        user_metadata=_mapping(row["raw_user_meta_data"]),
        identities=tuple(LinkedIdentity(**item) for item in json.loads(row["identities"] or "[]")),
        factors=tuple(Factor(**item) for item in json.loads(row["factors"] or "[]")),
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )


def render_instant(at: dt.datetime | None) -> str | None:
    """Render an instant as `2026-01-31T12:00:00.123456Z`."""
    return None if at is None else at.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")


def _mapping(text: str | None) -> Mapping[str, Any]:
    value = json.loads(text) if text else {}
    return value if isinstance(value, dict) else {}
