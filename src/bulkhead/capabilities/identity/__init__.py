"""Who the users of an application are: sign-up, sign-in, sessions, tokens and the mail about them.

The users live in a database of the application, in schema `auth`, column by column as Supabase's
Auth server keeps them, and `gateway.auth` speaks to its clients. Every function that changes users
runs in one transaction; passwords are hashed and mail is sent outside of it.

Access tokens are verified without the database. So one stays valid after its session was signed
out, until it expires (`IdentitySettings.token_ttl_s`, an hour); a key that was revoked counts no
more within seconds, in every process. What must end at once asks `GET /user`, which looks.

    identity = open_identity("commerce", system.database("users"), system.settings)
    routers = [inbox_routes(identity)]
    workers = [partial(deliver_mail, identity)]
    user = Annotated[Claims, Depends(current_user(identity))]
"""

from bulkhead.capabilities.identity.account import create_user, sign_in_as, tidy
from bulkhead.capabilities.identity.dependencies import current_user, maybe_user
from bulkhead.capabilities.identity.identity import (
    Hook,
    Identity,
    deliver_mail,
    identity_migrations,
    open_identity,
)
from bulkhead.capabilities.identity.inbox import inbox_routes
from bulkhead.capabilities.identity.model import Client, Method, Tokens, UserId, UserRow
from bulkhead.capabilities.identity.settings import IdentitySettings, Limit, Limits

__all__ = [
    "Client",
    "Hook",
    "Identity",
    "IdentitySettings",
    "Limit",
    "Limits",
    "Method",
    "Tokens",
    "UserId",
    "UserRow",
    "create_user",
    "current_user",
    "deliver_mail",
    "identity_migrations",
    "inbox_routes",
    "maybe_user",
    "open_identity",
    "sign_in_as",
    "tidy",
]
