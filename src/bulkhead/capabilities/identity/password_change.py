"""Set another password: what it must be like, and what somebody has to prove first."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bulkhead.capabilities.identity.codes.service import delete_codes, redeem_digits
from bulkhead.capabilities.identity.errors import (
    CurrentPasswordNeeded,
    CurrentPasswordWrong,
    InvalidCredentials,
    PasswordUnchanged,
    ReauthenticationInvalid,
    ReauthenticationNeeded,
)
from bulkhead.capabilities.identity.flows.service import end_flows
from bulkhead.capabilities.identity.model import (
    Client,
    CodeKind,
    SessionId,
    SignOutScope,
    UserRow,
)
from bulkhead.capabilities.identity.passwords import check_password
from bulkhead.capabilities.identity.sessions.service import describe_session, end_sessions
from bulkhead.capabilities.identity.users.service import (
    QUERIES as USERS,
)
from bulkhead.capabilities.identity.users.service import (
    find_password_hash,
    lock_credentials,
    write_audit_entry,
)
from bulkhead.engine import failpoints
from bulkhead.engine.connections.claims import SERVICE

if TYPE_CHECKING:
    from bulkhead.capabilities.identity.identity import Identity
    from bulkhead.engine.connections.transaction import Transaction

RECENT_S = 86_400.0
"""How old a session may be to change a password without a code, where codes are wanted."""

PROVED = failpoints.register("identity.password:proved")


@dataclass(frozen=True, slots=True)
class PasswordWish:
    """The password that a user wants, and what they bring for it."""

    password: str = field(repr=False)
    current: str | None = field(default=None, repr=False)
    nonce: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class PreparedPassword:
    """The hash that the password must still have, and the new one."""

    former: str | None = field(repr=False)
    hashed: str = field(repr=False)


async def prepare_password(
    identity: Identity, user: UserRow, session: SessionId, wish: PasswordWish
) -> PreparedPassword:
    """Check everything about a new password, outside of the transaction that sets it.

    A code is used up by this, whatever becomes of the change. Raises PasswordWeak,
    PasswordTooLong, ReauthenticationNeeded, ReauthenticationInvalid, CurrentPasswordNeeded,
    CurrentPasswordWrong, PasswordUnchanged.
    """
    check_password(wish.password, identity.settings)
    async with identity.users.transaction(SERVICE, read_only=True) as tx:
        former = await find_password_hash(tx, user.id)
        facts = await describe_session(tx, session)
    if identity.settings.password_needs_nonce and facts.age_s > RECENT_S:
        await _redeem_nonce(identity, user, wish.nonce)
        await failpoints.reach(PROVED)
    # Whoever came in by a code may have forgotten the password: that is what the code was for.
    if former and identity.settings.password_needs_current and not facts.by_code:
        if not wish.current:
            raise CurrentPasswordNeeded(reason="it is missing")
        if not await identity.passwords.verify(wish.current, former):
            raise CurrentPasswordWrong(reason="it does not match")
    elif wish.current and not await identity.passwords.verify(wish.current, former):
        raise CurrentPasswordWrong(reason="it does not match")
    if former and await identity.passwords.verify(wish.password, former):
        raise PasswordUnchanged(reason="choose another one")
    return PreparedPassword(former, await identity.passwords.hash(wish.password))


async def set_password(
    tx: Transaction, user: UserRow, session: SessionId, password: PreparedPassword, client: Client
) -> None:
    """Set a password, sign out everywhere else and void what was sent or begun before.

    That includes sign-ins whose link was followed, which Supabase's Auth server lets go on. Raises
    InvalidCredentials when somebody else has set another one meanwhile.
    """
    if password.former is not None and not await lock_credentials(tx, user.id, password.former):
        raise InvalidCredentials
    await tx.execute(USERS.set_password, user.id, password.hashed)
    await end_sessions(tx, user.id, session, SignOutScope.OTHERS)
    await delete_codes(tx, user.id, CodeKind)
    await end_flows(tx, user.id)
    await write_audit_entry(tx, "user_updated_password", user, client)


async def _redeem_nonce(identity: Identity, user: UserRow, nonce: str | None) -> None:
    if not nonce:
        raise ReauthenticationNeeded(reason="it is missing")
    kinds = (CodeKind.REAUTHENTICATION,)
    async with identity.users.transaction(SERVICE) as tx:
        code = await redeem_digits(tx, user.email or user.phone, nonce, kinds, identity.settings)
    # Raised out here, because the failed attempt has to be committed.
    if code is None or code.user_id != user.id:
        raise ReauthenticationInvalid(reason="it does not match")
