"""Who tries: the actors of a declaration, and impostors who must never get further than they."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from bulkhead.engine.connections.claims import ANON, SERVICE, Claims, user
from bulkhead.engine.ids import derive_id
from bulkhead.engine.topology import Actor

ALICE: UUID = derive_id("probe user", "alice")
"""The user to whom the rows belong that are tried."""
BOB: UUID = derive_id("probe user", "bob")
"""Another user with rows of their own."""
CLERK: UUID = derive_id("probe user", "clerk")
"""A member of staff."""

_HOUR_PAST = 1_000_000_000


@dataclass(frozen=True, slots=True)
class ProbeActor:
    """A role and claims, and whom the declaration takes them for."""

    name: str
    role: str
    claims: str
    counts_as: Actor
    impostor: bool = False
    """Whether the claims are forged or broken: may do less than `counts_as`, never more."""


def _actor(name: str, claims: Claims, counts_as: Actor) -> ProbeActor:
    return ProbeActor(name, claims.role, claims.json, counts_as)


def _impostor(
    name: str, claims: Mapping[str, Any] | str, role: str = "authenticated"
) -> ProbeActor:
    text = claims if isinstance(claims, str) else json.dumps(claims, separators=(",", ":"))
    counts_as = Actor.ANON if role == "anon" else Actor.STRANGER
    return ProbeActor(name, role, text, counts_as, impostor=True)


_STAFF = {"app_metadata": {"role": "admin"}}

ACTORS = (
    _actor("anon", ANON, Actor.ANON),
    _actor("owner", user(ALICE), Actor.OWNER),
    _actor("stranger", user(BOB), Actor.STRANGER),
    _actor("staff", user(CLERK, **_STAFF), Actor.STAFF),
    _actor("service", SERVICE, Actor.SERVICE),
)

IMPOSTORS = (
    _impostor("claims left empty by a used session", ""),
    _impostor("claims without a subject", {"role": "authenticated"}),
    _impostor("a subject that is null", {"sub": None}),
    _impostor("a subject that is no id", {"sub": "' or true --"}),
    _impostor("claims that are no JSON", "{"),
    _impostor("staff by user_metadata", {"sub": str(BOB), "user_metadata": {"role": "admin"}}),
    _impostor("staff by a claim of its own", {"sub": str(BOB), "role": "admin", "is_staff": True}),
    _impostor("service by a claim", {"sub": str(BOB), "role": "service_role"}),
    _impostor("a customer by app_metadata", {"sub": str(BOB), "app_metadata": {"role": "x"}}),
    _impostor("app_metadata of another shape", {"sub": str(BOB), "app_metadata": ["admin"]}),
    _impostor("expired", {"sub": str(BOB), "exp": _HOUR_PAST}),
    _impostor("anon with the owner's claims", {"sub": str(ALICE)}, role="anon"),
    _impostor("anon with staff's claims", {"sub": str(CLERK), **_STAFF}, role="anon"),
)
