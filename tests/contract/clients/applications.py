"""What is served: the sample shop and, next door, a club with users of its own."""

from __future__ import annotations

import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

from tests.integration.capabilities.identity.club import CLUB, GENEROUS

from bulkhead.apps.commerce.application import APPLICATION
from bulkhead.capabilities.identity import (
    Identity,
    IdentitySettings,
    deliver_mail,
    inbox_routes,
    open_identity,
)
from bulkhead.engine.application import Application, Mounted
from bulkhead.engine.system import System
from bulkhead.engine.topology import Database

FUNCTIONS = Path(__file__).parent / "functions"
SITE = "http://localhost:3000"
"""Where the front end stands that mails lead to."""
PEOPLE = IdentitySettings(
    limits=GENEROUS,
    phone_enabled=True,
    anonymous_enabled=True,
    password_cost=4,
    reuse_interval_s=0,
    site_url=SITE,
    redirect_urls=(f"{SITE}/*",),
)


def shop_people(system: System) -> Identity:
    """The users of the shop, without what would hold up a test."""
    assert APPLICATION.people is not None, "the shop has users"
    strict: Identity = APPLICATION.people(system)
    return open_identity(
        strict.application,
        strict.users,
        system.settings,
        title=strict.title,
        identity_settings=PEOPLE,
        on_confirmed=strict.on_confirmed,
    )


def shop_with_functions(folder: Path) -> Application:
    """The shop as if its migrations ended with functions for front ends; they lie in `folder`."""
    topology = APPLICATION.topology
    databases = tuple(
        replace(each, migrations=_append(each, FUNCTIONS / f"{each.name}.sql", folder))
        for each in topology.databases
    )
    return replace(
        APPLICATION,
        topology=replace(topology, databases=databases),
        people=shop_people,
    )


def _append(database: Database, functions: Path, folder: Path) -> Path:
    if not functions.exists():
        return database.migrations
    merged = shutil.copytree(database.migrations, folder / database.name)
    number = 1 + sum(1 for _ in merged.glob("*.sql"))
    shutil.copy(functions, merged / f"{number:04}_functions.sql")
    return merged


def club_people(system: System) -> Identity:
    return open_identity(
        "club", system.database("users"), system.settings, identity_settings=PEOPLE
    )


def mount_club(system: System) -> Mounted:
    people = club_people(system)
    return Mounted(
        routers=(inbox_routes(people),),
        workers=(partial(deliver_mail, people),),
        people=people,
    )


NEIGHBOUR: Application = replace(CLUB, people=club_people, mount=mount_club)
