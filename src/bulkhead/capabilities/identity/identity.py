"""The identity of one application: what its parts need to know, put together once."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bulkhead.capabilities.identity.errors import (
    MailRateLimited,
    RateLimited,
    SmsRateLimited,
)
from bulkhead.capabilities.identity.hooks.service import customize_claims
from bulkhead.capabilities.identity.limits.service import network_of, take
from bulkhead.capabilities.identity.mail.carrier import Carrier, LocalInbox, carrier_for
from bulkhead.capabilities.identity.mail.delivery import Mailer
from bulkhead.capabilities.identity.model import (
    Client,
    CodeKind,
    Method,
    Session,
    Tokens,
    UserRow,
    is_phone,
)
from bulkhead.capabilities.identity.passwords import Passwords
from bulkhead.capabilities.identity.sessions.service import open_session
from bulkhead.capabilities.identity.settings import IdentitySettings, Limit
from bulkhead.capabilities.identity.tokens.access import AccessTokens
from bulkhead.capabilities.identity.tokens.keyring import KeyRing
from bulkhead.capabilities.identity.users.service import get_user, write_audit_entry
from bulkhead.engine.application import MigrationFolder
from bulkhead.engine.connections.claims import SERVICE

if TYPE_CHECKING:
    from bulkhead.engine.connections.claims import Claims
    from bulkhead.engine.connections.database import OpenDatabase
    from bulkhead.engine.connections.transaction import Transaction
    from bulkhead.engine.settings import Settings

Hook = Callable[["Transaction", UserRow], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Identity:
    """Who the users of one application are; made by `open_identity`."""

    application: str
    title: str
    """What mails call the application."""
    origin: str
    users: OpenDatabase
    settings: IdentitySettings
    autoconfirm: bool
    trusted_proxies: tuple[str, ...]
    tokens: AccessTokens
    passwords: Passwords
    mailer: Mailer
    on_signed_up: Hook | None = None
    """Called in the transaction that creates a user."""
    on_confirmed: Hook | None = None
    """Called in the transaction in which a user's first address or number turns out to be theirs;
    with `autoconfirm` that is the one above."""

    @property
    def issuer(self) -> str:
        """The address of this identity's API, and `iss` of its tokens."""
        return self.tokens.issuer

    @property
    def site_url(self) -> str:
        """Where links lead that name no other place."""
        return self.settings.site_url or self.origin

    def verify(self, token: str) -> Claims:
        """The claims of a valid access token; raises TokenInvalid.

        Does not ask the database: the token of a session that was signed out stays valid until it
        expires, `settings.token_ttl_s` after it was issued.
        """
        return self.tokens.verify(token)

    def confirms(self, address: str) -> bool:
        """Whether an address of this kind counts as confirmed at once."""
        return self.settings.phone_autoconfirm if is_phone(address) else self.autoconfirm

    async def issue_token(
        self,
        tx: Transaction,
        user: UserRow,
        *,
        method: Method = Method.PASSWORD,
        client: Client = Client(),  # noqa: B008
        provider: str = "email",
    ) -> Tokens:
        """Sign `user` in, in a new session; `provider` goes into the audit log."""
        session = await open_session(tx, user.id, method, client)
        await write_audit_entry(tx, "login", user, client, provider=provider)
        return await self.render_tokens(tx, await get_user(tx, user.id), session, method, client)

    async def render_tokens(
        self, tx: Transaction, user: UserRow, session: Session, method: Method, client: Client
    ) -> Tokens:
        """The tokens of a session, in which the application may have a say.

        Raises HookRefused, HookInvalid.
        """
        claims: Mapping[str, Any] = self.tokens.claims_of(user, session)
        if self.settings.access_token_hook is not None:
            claims = await customize_claims(
                tx, self.settings.access_token_hook, claims, method, client
            )
        access_token = self.tokens.encode(claims)
        expires_at = int(claims["exp"])
        expires_in = expires_at - int(claims["iat"])
        return Tokens(access_token, session.refresh_token, expires_at, expires_in, user, session.id)

    async def limit_client(self, limit: Limit, client: Client) -> None:
        """Count a request against what `limit` allows one client; raises RateLimited."""
        await self.limit_subject(limit, network_of(client.address))

    async def limit_subject(
        self, limit: Limit, subject: str, refusal: type[RateLimited] = RateLimited
    ) -> None:
        """Count a request against `limit`, whatever becomes of it; raises `refusal`."""
        async with self.users.transaction(SERVICE) as tx:
            await take(tx, limit, subject, refusal)

    async def limit_message(self, address: str, kind: CodeKind) -> None:
        """Count a message with a code to an address or a number, whether or not it has an account.

        Each kind counts for itself, so that nobody who has just confirmed an address waits for a
        new password; all of them count for the day. Raises MailRateLimited or SmsRateLimited.
        """
        limits = self.settings.limits
        each, daily = limits.mail, limits.mail_daily
        refusal: type[RateLimited] = MailRateLimited
        if is_phone(address):
            each, daily, refusal = limits.sms, limits.sms_daily, SmsRateLimited
        await self.limit_subject(each, f"{kind.value}:{address}", refusal)
        await self.limit_subject(daily, address, refusal)


def open_identity(  # noqa: PLR0913
    application: str,
    users: OpenDatabase,
    settings: Settings,
    *,
    title: str | None = None,
    identity_settings: IdentitySettings | None = None,
    on_signed_up: Hook | None = None,
    on_confirmed: Hook | None = None,
    messenger: Carrier | None = None,
) -> Identity:
    """Put the identity of `application` together over its database `users`.

    `messenger` carries text messages; without one they stay in the local inbox. The signing keys
    are in `keys/<application>.json` of `settings.home`, made at the first need.
    """
    own = identity_settings or IdentitySettings()
    issuer = f"{settings.origin}/{application}/auth/v1"
    keyring = KeyRing(settings.home / "keys" / f"{application}.json")
    return Identity(
        application=application,
        title=title or application,
        origin=settings.origin,
        users=users,
        settings=own,
        autoconfirm=settings.autoconfirm,
        trusted_proxies=settings.trusted_proxies,
        tokens=AccessTokens(keyring, issuer, own.token_ttl_s, own.audiences),
        passwords=Passwords(own.password_cost, parallel=max(1, (os.cpu_count() or 2) // 2)),
        mailer=Mailer(
            users,
            carrier_for(settings.smtp),
            (messenger or LocalInbox()) if own.phone_enabled else None,
        ),
        on_signed_up=on_signed_up,
        on_confirmed=on_confirmed,
    )


def identity_migrations(database: str) -> MigrationFolder:
    """The migrations that an application declares for the database that holds its users."""
    return MigrationFolder("identity", database, Path(__file__).parent / "migrations")


async def deliver_mail(identity: Identity) -> None:
    """Hand over mail until cancelled; a worker that every process may run."""
    await identity.mailer.run()
