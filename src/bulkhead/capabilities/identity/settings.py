"""How strict an application's identity is; one value per application."""

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
    """The five above count for each client address."""
    password_failures: Limit = Limit("password_failures", 100, 3600.0)
    """For each e-mail address, however many clients guess; a right password clears it."""
    mail: Limit = Limit("mail", 1, 60.0)
    """For each recipient."""
    mail_daily: Limit = Limit("mail_daily", 100, 86400.0)
    """For each recipient; with `code_attempts` it bounds how many codes a day can be guessed."""


@dataclass(frozen=True, slots=True)
class IdentitySettings:
    """What an application decides about its users."""

    sign_up_enabled: bool = True
    token_ttl_s: int = 3600
    """How long an access token lives, also after its session was signed out."""
    reuse_interval_s: float = 10.0
    """How long a refresh token that was exchanged already may still be exchanged."""
    session_ttl_s: float | None = None
    """How long a session may last at most; None for as long as it is refreshed."""
    session_idle_s: float | None = None
    """How long a session may go without a refresh."""
    code_ttl_s: float = 3600.0
    code_attempts: int = 5
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
