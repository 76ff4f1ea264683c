"""The configuration of a process, read once; the only reader of the environment.

Every variable has the prefix `BULKHEAD_`. A `.env` file in the working directory fills in what the
process environment does not say. The names are listed in `docs/reference/configuration.md`.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from bulkhead.engine.errors import ConfigurationInvalid

LOOPBACK_NAMES = frozenset({"127.0.0.1", "::1", "localhost"})
MASTER_KEY_CREDENTIAL = "bulkhead-master-key"
"""What systemd's LoadCredential= calls the key under which secrets are sealed."""
_LINE = re.compile(r"^\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*?)\s*$")


@dataclass(frozen=True, slots=True)
class Smtp:
    """Where e-mail is handed over."""

    host: str
    port: int = 587
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    sender: str = "no-reply@localhost"
    starttls: bool = True


@dataclass(frozen=True, slots=True)
class Settings:
    """The configuration of one process."""

    home: Path = Path(".bulkhead")
    """The folder with the embedded server's data, keys and logs."""
    host: str = "127.0.0.1"
    port: int = 8000
    site_url: str | None = None
    """The public address, where it is not `http://host:port`."""
    server_url: str | None = field(default=None, repr=False)
    """An administrator's DSN of the PostgreSQL server to use; None means the embedded one."""
    database_urls: Mapping[str, str] = field(default_factory=dict, repr=False)
    """DSNs of databases that live elsewhere, by `application.database`."""
    server_direct_url: str | None = field(default=None, repr=False)
    """The server's own DSN where `server_url` is that of a pooler."""
    database_direct_urls: Mapping[str, str] = field(default_factory=dict, repr=False)
    """The servers' own DSNs where those of `database_urls` are those of poolers."""
    smtp: Smtp | None = None
    """None means that e-mail goes to the local inbox."""
    log_level: str = "info"
    log_format: str = "auto"
    """`json`, `text`, or `auto`: text on a terminal, else JSON."""
    pool_size: int = 10
    """Connections per database and role at most."""
    server_connections: int = 60
    """Connections to one server at most, over all of its databases."""
    statement_timeout_s: float = 8.0
    rest_body_bytes_max: int = 10_000_000
    """Bytes of one request to a REST API at most."""
    autoconfirm: bool = False
    """Whether a new user's e-mail address counts as confirmed at once."""
    trusted_proxies: tuple[str, ...] = ()
    """Addresses whose `X-Forwarded-For` is believed."""
    lease_s: float = 30.0
    """How long sagas and deliveries that somebody works on are left to them; whoever takes longer
    is taken for dead. Longer than a request takes, or requests are taken over in flight."""
    egress_allow: tuple[str, ...] | None = None
    """Private networks in which customers may name hosts. None: this machine's own in development,
    else none."""
    egress_ports: tuple[str, ...] = ()
    """Ports that customers may name besides the usual ones, such as `9443` or `7000-7010`."""
    supabase_api: str = "https://api.supabase.com"
    """Where Supabase's Management API is."""
    master_key_file: Path | None = None
    """The key under which secrets are sealed; None: `master.key` in `keys` of `home`."""
    master_key_command: str | None = None
    """A command that prints that key instead."""
    failpoint: str | None = None
    """For tests: where `bulkhead up` shall end as if by kill -9: `name`, or `name:after` to let the
    point be passed so many times before."""

    @property
    def origin(self) -> str:
        """The public address without a trailing slash."""
        return (self.site_url or f"http://{self.host}:{self.port}").rstrip("/")

    @property
    def is_development(self) -> bool:
        """Whether nobody but this machine is served: a loopback address, and no public one."""
        return {self.host, urlsplit(self.origin).hostname} <= LOOPBACK_NAMES


def load_settings(directory: Path | None = None, **overrides: object) -> Settings:
    """Read the environment and `directory/.env`; raises ConfigurationInvalid.

    `overrides` (from command-line options) win over both; None stands for "not given".
    """
    values = {**load_dotenv((directory or Path.cwd()) / ".env"), **os.environ}
    read = _Reader(values)
    given: dict[str, object] = {
        "home": Path(read.text("HOME", ".bulkhead")),
        "host": read.text("HOST", "127.0.0.1"),
        "port": read.integer("PORT", 8000, low=0, high=65535),
        "site_url": read.optional("SITE_URL"),
        "server_url": read.optional("SERVER_URL"),
        "database_urls": read.database_urls(),
        "server_direct_url": read.optional("SERVER_DIRECT_URL"),
        "database_direct_urls": read.database_urls("_DIRECT"),
        "smtp": read.smtp(),
        "log_level": read.choice("LOG_LEVEL", "info", ("debug", "info", "warning", "error")),
        "log_format": read.choice("LOG_FORMAT", "auto", ("auto", "json", "text")),
        "pool_size": read.integer("POOL_SIZE", 10, low=1, high=1000),
        "server_connections": read.integer("SERVER_CONNECTIONS", 60, low=2, high=10_000),
        "statement_timeout_s": float(read.integer("STATEMENT_TIMEOUT_S", 8, low=1, high=3600)),
        "rest_body_bytes_max": 1_000_000 * read.integer("REST_BODY_MB", 10, low=1, high=1000),
        "autoconfirm": read.flag("AUTOCONFIRM", default=False),
        "trusted_proxies": read.words("TRUSTED_PROXIES") or (),
        "lease_s": float(read.integer("LEASE_S", 30, low=1, high=3600)),
        "egress_allow": read.words("EGRESS_ALLOW"),
        "egress_ports": read.words("EGRESS_PORTS") or (),
        "supabase_api": read.web_address("SUPABASE_API", "https://api.supabase.com"),
        "master_key_file": read.master_key_file(),
        "master_key_command": read.master_key_command(),
        "failpoint": read.optional("FAILPOINT"),
    }
    given |= {name: value for name, value in overrides.items() if value is not None}
    return Settings(**given)  # type: ignore[arg-type]


def load_dotenv(path: Path) -> dict[str, str]:
    """Read `NAME=value` lines; quotes around a value are taken off, `#` lines are comments."""
    if not path.is_file():
        return {}
    values: dict[str, str] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        match = None if line.lstrip().startswith("#") else _LINE.match(line)
        if match:
            name, value = match.groups()
            if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
                value = value[1:-1]
            values[name] = value
    return values


@dataclass(frozen=True, slots=True)
class _Reader:
    values: Mapping[str, str]

    def optional(self, name: str) -> str | None:
        return self.values.get(f"BULKHEAD_{name}") or None

    def text(self, name: str, default: str) -> str:
        return self.optional(name) or default

    def integer(self, name: str, default: int, *, low: int, high: int) -> int:
        text = self.text(name, str(default))
        if not text.isdecimal() or not low <= int(text) <= high:
            raise ConfigurationInvalid(
                reason=f"BULKHEAD_{name} is '{text}'; it must be a number from {low} to {high}"
            )
        return int(text)

    def flag(self, name: str, *, default: bool) -> bool:
        text = self.text(name, "true" if default else "false").lower()
        if text not in {"true", "false", "1", "0", "yes", "no"}:
            raise ConfigurationInvalid(reason=f"BULKHEAD_{name} is '{text}'; say true or false")
        return text in {"true", "1", "yes"}

    def choice(self, name: str, default: str, allowed: tuple[str, ...]) -> str:
        text = self.text(name, default).lower()
        if text not in allowed:
            raise ConfigurationInvalid(
                reason=f"BULKHEAD_{name} is '{text}'; it must be one of {', '.join(allowed)}"
            )
        return text

    def words(self, name: str) -> tuple[str, ...] | None:
        text = self.optional(name)
        return None if text is None else tuple(text.replace(",", " ").split())

    def web_address(self, name: str, default: str) -> str:
        text = self.text(name, default)
        parts = urlsplit(text)
        if parts.scheme not in {"https", "http"} or not parts.hostname or parts.query:
            raise ConfigurationInvalid(
                reason=f"BULKHEAD_{name} is '{text}'; it must begin with https:// and name a host"
            )
        return text.rstrip("/")

    def master_key_file(self) -> Path | None:
        if (path := self.optional("MASTER_KEY_FILE")) is not None:
            return Path(path)
        # systemd gives credentials as files in a folder that only this service can read.
        folder = self.values.get("CREDENTIALS_DIRECTORY")
        found = Path(folder) / MASTER_KEY_CREDENTIAL if folder else None
        return found if found is not None and found.is_file() else None

    def master_key_command(self) -> str | None:
        command = self.optional("MASTER_KEY_COMMAND")
        if command is not None and self.optional("MASTER_KEY_FILE") is not None:
            raise ConfigurationInvalid(
                reason="BULKHEAD_MASTER_KEY_FILE and BULKHEAD_MASTER_KEY_COMMAND exclude each other"
            )
        return command

    def database_urls(self, kind: str = "") -> dict[str, str]:
        pattern = rf"BULKHEAD_DATABASE_([A-Z0-9_]+)__([A-Z0-9_]+?(?<!_DIRECT)){kind}_URL"
        found = {}
        for name, value in self.values.items():
            match = re.fullmatch(pattern, name)
            if match and value:
                found[f"{match[1].lower()}.{match[2].lower()}"] = value
        return found

    def smtp(self) -> Smtp | None:
        host = self.optional("SMTP_HOST")
        if host is None:
            return None
        return Smtp(
            host=host,
            port=self.integer("SMTP_PORT", 587, low=1, high=65535),
            username=self.optional("SMTP_USERNAME"),
            password=self.optional("SMTP_PASSWORD"),
            sender=self.text("SMTP_SENDER", "no-reply@localhost"),
            starttls=self.flag("SMTP_STARTTLS", default=True),
        )
