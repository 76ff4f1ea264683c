"""Let a function of the database have a say about the claims of a token.

It runs in the transaction that issues the token, as service_role, and is called as Supabase's Auth
server calls a "custom access token" hook.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from bulkhead.capabilities.identity.errors import HookInvalid, HookRefused
from bulkhead.capabilities.identity.model import Client, Method, render_instant
from bulkhead.engine.clock import now
from bulkhead.engine.connections.queries import load_queries
from bulkhead.engine.connections.sql import identifier
from bulkhead.engine.drivers.errors import SqlError
from bulkhead.engine.ids import new_id

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bulkhead.engine.connections.transaction import Transaction

QUERIES = load_queries(__package__)

TIMEOUT = "2s"
KEPT = ("iss", "sub", "aud", "role", "session_id")
"""What says whom a token is for; nobody would accept one that says something else."""
KINDS: Mapping[str, type | tuple[type, ...]] = {
    "aud": (str, list),
    "exp": int,
    "iat": int,
    "sub": str,
    "email": str,
    "phone": str,
    "role": str,
    "aal": str,
    "session_id": str,
    "is_anonymous": bool,
}
"""What every token has."""
OPTIONAL: Mapping[str, type | tuple[type, ...]] = {
    "iss": str,
    "jti": str,
    "nbf": int,
    "app_metadata": dict,
    "user_metadata": dict,
    "amr": list,
    "client_id": str,
}


async def customize_claims(
    tx: Transaction, function: str, claims: Mapping[str, Any], method: Method, client: Client
) -> Mapping[str, Any]:
    """The claims that `function`, as `schema.name`, makes of `claims`.

    Raises HookRefused with what the function says, and HookInvalid when it fails or what it
    returns is not the claims of a token for the same user.
    """
    event = {
        "metadata": {
            "uuid": str(new_id()),
            "time": render_instant(now()),
            "name": "customize-access-token",
            "ip_address": client.address or "",
        },
        "user_id": claims["sub"],
        "claims": claims,
        "authentication_method": method.value,
    }
    name = ".".join(identifier(part) for part in function.split("."))
    before = await tx.fetchval(QUERIES.get_timeout)
    await tx.execute(QUERIES.set_timeout, TIMEOUT)
    try:
        said = await tx.fetchval(f"select {name}($1::text::jsonb)::text", json.dumps(event))
    except SqlError as error:
        raise HookInvalid(function=function, reason=error.message) from error
    await tx.execute(QUERIES.set_timeout, before)
    return parse_output(function, said, claims)


def parse_output(function: str, text: str | None, claims: Mapping[str, Any]) -> Mapping[str, Any]:
    """The claims in what a function returned instead of `claims`; raises as `customize_claims`."""
    try:
        output = json.loads(text or "null")
    except ValueError:
        raise HookInvalid(function=function, reason="it does not return JSON") from None
    if not isinstance(output, dict):
        raise HookInvalid(function=function, reason="it does not return an object")
    refusal = output.get("error")
    if isinstance(refusal, dict) and isinstance(refusal.get("message"), str):
        raise HookRefused(reason=refusal["message"], http_code=refusal.get("http_code"))
    found = output.get("claims")
    if not isinstance(found, dict):
        raise HookInvalid(function=function, reason="output claims field is missing")
    made = {"iss": claims["iss"], **found}
    check_claims(function, made, claims)
    return made


def check_claims(function: str, made: Mapping[str, Any], claims: Mapping[str, Any]) -> None:
    """Raise HookInvalid unless `made` is a token's claims for the user of `claims`."""
    for name, kind in {**KINDS, **OPTIONAL}.items():
        if name not in made:
            if name in KINDS:
                raise HookInvalid(function=function, reason=f"the claim {name} is missing")
            continue
        value = made[name]
        # A boolean is an int to Python.
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise HookInvalid(function=function, reason=f"the claim {name} has the wrong type")
    for name in KEPT:
        if made[name] != claims[name]:
            raise HookInvalid(function=function, reason=f"the claim {name} must not change")
