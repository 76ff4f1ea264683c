"""How strict an application's identity is; one value per application."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from bulkhead.engine.errors import ConfigurationInvalid


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `burst` at once, and no more than `burst` in every `per_s` in the long run."""

    name: str
    burst: int
    per_s: float

    def __post_init__(self) -> None:
        if self.burst < 1 or self.per_s <= 0:
            raise ConfigurationInvalid(reason=f"limit '{self.name}' must be positive")

    @property
    def emission_s(self) -> float:
        """How long it takes until one more is allowed."""
        return self.per_s / self.burst


@dataclass(frozen=True, slots=True)
class Limits:
    """How often something may be tried; the defaults are those of Supabase where it has one."""

    sign_up: Limit = Limit("sign_up", 30, 300.0)
    sign_in: Limit = Limit("sign_in", 30, 300.0)
    refresh: Limit = Limit("refresh", 150, 300.0)
    verify: Limit = Limit("verify", 30, 300.0)
    request_mail: Limit = Limit("request_mail", 30, 300.0)
    factor: Limit = Limit("factor", 30, 300.0)
    anonymous: Limit = Limit("anonymous", 30, 3600.0)
    change_user: Limit = Limit("change_user", 30, 300.0)
    """The eight above count for each client address."""
    factor_attempts: Limit = Limit("factor_attempts", 10, 900.0)
    """For each user: codes of second factors; a right one clears it."""
    password_failures: Limit = Limit("password_failures", 100, 3600.0)
    """For each address or number, however many clients guess; a right password clears it."""
    mail: Limit = Limit("mail", 1, 60.0)
    """For each recipient and kind of mail."""
    mail_daily: Limit = Limit("mail_daily", 100, 86400.0)
    """For each recipient; with `code_attempts` it bounds how many codes a day can be guessed."""
    sms: Limit = Limit("sms", 1, 60.0)
    """For each number and kind of message."""
    sms_daily: Limit = Limit("sms_daily", 30, 86400.0)
    """For each number."""


@dataclass(frozen=True, slots=True)
class IdentitySettings:
    """What an application decides about its users."""

    sign_up_enabled: bool = True
    email_enabled: bool = True
    phone_enabled: bool = False
    anonymous_enabled: bool = False
    manual_linking_enabled: bool = True
    """Whether a user may take away one of several ways to sign in."""
    phone_autoconfirm: bool = False
    """Whether a new user's telephone number counts as confirmed at once."""
    phone_test_codes: Mapping[str, str] = field(default_factory=dict)
    """Numbers, in digits, to which no message is sent and whose code is always this one."""
    email_change_by_both: bool = True
    """Whether the present address has to agree to another one, too."""
    password_needs_nonce: bool = False
    """Whether a session older than a day needs a code of `/reauthenticate` to set a password."""
    password_needs_current: bool = False
    """Whether the present password is needed to set another one, except after a recovery."""
    access_token_hook: str | None = None
    """A function `schema.name(event jsonb) returns jsonb` of the database with the users, which
    service_role may execute: it is given `user_id`, `claims` and `authentication_method` within
    the transaction that issues a token, and returns what has become of `claims`."""
    audiences: tuple[str, ...] = ()
    """Where tokens are good: `<application>/<database>` for each database that shall accept them.
    Empty, they are good at each of the application's, and say `authenticated` only; else they name
    these beside it, and the gateway of another database refuses them."""
    token_ttl_s: int = 3600
    """How long an access token lives, also after its session was signed out."""
    reuse_interval_s: float = 10.0
    """How long a refresh token that was exchanged already may still be exchanged."""
    session_ttl_s: float | None = None
    """How long a session may last at most; None for as long as it is refreshed."""
    session_idle_s: float | None = None
    """How long a session may go without a refresh."""
    session_single: bool = False
    """Whether a sign-in ends the user's older sessions, at their next refresh."""
    code_ttl_s: float = 3600.0
    sms_code_ttl_s: float = 60.0
    flow_ttl_s: float = 300.0
    """How long the code at the end of a sign-in may take to come back to us (PKCE)."""
    code_attempts: int = 5
    totp_enabled: bool = True
    """Whether users may add authenticators as second factors, and verify them."""
    factors_max: int = 10
    """How many second factors a user may have."""
    factor_ttl_s: float = 300.0
    """How long a second factor is kept that was added and not verified."""
    challenge_ttl_s: float = 300.0
    password_length_min: int = 8
    password_cost: int = 10
    """Of bcrypt: one more doubles the time a password takes, ours as a thief's."""
    password_characters: tuple[str, ...] = ()
    """Sets of characters of each of which a password needs one."""
    site_url: str | None = None
    """Where a link in a mail leads when it names no other place; None is the origin."""
    redirect_urls: tuple[str, ...] = ()
    """Where else it may lead; `*` at the end of a path stands for anything."""
    metadata_bytes_max: int = 8192
    """What `user_metadata` may take; it travels in every access token."""
    open_inbox: bool = False
    """Whether the local inbox is shown to other machines than this one."""
    limits: Limits = field(default_factory=Limits)
