"""Which project is which: found by its name, made once, deleted only when it is ours.

A project is known by its name, which ends in a tag that only this installation's secret makes. So
one whose making was interrupted anywhere is found again, and nothing else is taken for ours. Its
password follows from the secret too: nothing has to be kept between the call that makes a project
and the first connection.
"""

from __future__ import annotations

import asyncio
import re
from collections import defaultdict
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import Final, Self

from bulkhead.engine import failpoints
from bulkhead.engine.drivers.endpoint import Tls
from bulkhead.engine.drivers.errors import DatabaseForeign, DatabaseMissing
from bulkhead.engine.drivers.foreign import Trust
from bulkhead.engine.drivers.protocol import DatabaseSpec
from bulkhead.engine.drivers.secret import Secret, SecretText
from bulkhead.engine.drivers.supabase_api import (
    API_URL,
    ManagementApi,
    Patience,
    Project,
    ProjectUnknown,
)
from bulkhead.engine.egress import Egress
from bulkhead.engine.egress.request import AnswerUnusable, Bounds
from bulkhead.engine.errors import BulkheadError, Unavailable

CA_FILE: Final = Path(str(resources.files(__package__).joinpath("supabase_ca.pem")))
ADMINISTRATOR: Final = "postgres"
TAG_CHARACTERS: Final = 16
_POOLER: Final = re.compile(r"[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63})*\.pooler\.supabase\.com")
READY: Final = "ACTIVE_HEALTHY"
GONE: Final = frozenset({"REMOVED", "GOING_DOWN"})
FAILED: Final = frozenset({"INIT_FAILED", "RESTORE_FAILED", "PAUSE_FAILED", "INACTIVE", "PAUSING"})

BEFORE_CREATE: Final = failpoints.register("supabase.project:before_create")
CREATED: Final = failpoints.register("supabase.project:created")
DELETED: Final = failpoints.register("supabase.project:deleted")


class DatabaseComing(Unavailable):
    """Creating the Supabase project: {status}."""

    # `wait_s` says when to look again.
    code = "database_coming"
    retry_after_s = 5


class ProjectFailed(BulkheadError):
    """Supabase project '{project}' is of no use: it is {status}."""

    code = "supabase_project_failed"
    status = 502
    hint = "See the project in Supabase's dashboard; one that is paused can be restored there."


@dataclass(frozen=True, slots=True)
class Place:
    """How a project is reached: at its own host, or through a pooler in session mode.

    As text, for the registry, it is `REFERENCE` or `REFERENCE@POOLER`.
    """

    ref: str
    pooler: str | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what the registry keeps; raises AnswerUnusable for a pooler of somebody else."""
        ref, _, pooler = text.partition("@")
        if pooler and not _POOLER.fullmatch(pooler):
            raise AnswerUnusable(host=pooler[:100], reason="it is no pooler of Supabase's")
        return cls(ref, pooler or None)

    def __str__(self) -> str:
        return f"{self.ref}@{self.pooler}" if self.pooler else self.ref

    def login(self, role: str) -> str:
        """What a role is called there: a pooler is told which project is meant."""
        return f"{role}.{self.ref}" if self.pooler else role


@dataclass(frozen=True, slots=True)
class SupabaseAccess:
    """How Supabase is reached: its API, and the databases of its projects."""

    egress: Egress
    api_url: str = API_URL
    host: str = "db.{ref}.supabase.co"
    port: int = 5432
    """Of the projects' own hosts, and of the pooler in session mode."""
    tls: Tls = Tls.VERIFY_FULL
    ca_pem: str | None = None
    """Certificates to trust instead of Supabase's own."""
    patience: Patience = field(default_factory=Patience)
    poll_s: float = 5.0

    def api(self, token: SecretText) -> ManagementApi:
        """The API for whoever has `token`."""
        return ManagementApi(self.egress, token, self.api_url, self.patience)

    def api_for_people(self, token: SecretText) -> ManagementApi:
        """The same, for whoever waits for an answer."""
        patience = replace(self.patience, tries=2, wait_s_max=3.0, bounds=Bounds(timeout_s=8.0))
        return ManagementApi(self.egress, token, self.api_url, patience)

    @property
    def trust(self) -> Trust:
        """By which certificates a database proves which it is."""
        return Trust(self.tls, self.ca_pem or CA_FILE.read_text(encoding="utf-8"))

    def host_of(self, place: Place) -> str:
        """The host where a project's database is reached."""
        return place.pooler or self.host.format(ref=place.ref)


@dataclass(frozen=True, slots=True)
class Account:
    """Where projects are made: an organization, as whoever has the token, in a region."""

    token: SecretText
    organization: str
    region: str


@dataclass(slots=True, eq=False)
class Projects:
    """The projects of an organization that this installation has made."""

    api: ManagementApi
    account: Account
    secret: Secret
    _places: dict[str, Place] = field(default_factory=dict)
    """By the name of the database, those that were met."""
    _making: defaultdict[str, asyncio.Lock] = field(
        default_factory=lambda: defaultdict(asyncio.Lock)
    )

    @property
    def server(self) -> str:
        """The organization, as a name of the server."""
        return f"supabase:{self.account.organization}"

    def name(self, spec: DatabaseSpec) -> str:
        """What the project is called: nobody else can make up the end of it."""
        tag = self.secret.derive(f"supabase project {spec.name}").hex()[:TAG_CHARACTERS]
        return f"{spec.name}-{tag}"

    def password(self, spec: DatabaseSpec) -> SecretText:
        """The password of `postgres` there."""
        return SecretText(self.secret.password(f"{ADMINISTRATOR}@{self.name(spec)}"))

    def known_place(self, spec: DatabaseSpec) -> Place | None:
        """Where the project is, where that is known without asking."""
        return Place.parse(spec.located) if spec.located else self._places.get(spec.name)

    async def find_place(self, spec: DatabaseSpec) -> Place:
        """Where the project is, or one that only looks so; raises DatabaseMissing."""
        if (place := self.known_place(spec)) is not None:
            return place
        namesakes = await self._list_namesakes(spec)
        if not namesakes:
            raise DatabaseMissing(server=self.server, database=spec.name)
        ours = [each for each in namesakes if each.name == self.name(spec)]
        if ours:
            self._places[spec.name] = Place(ours[0].ref)
        return Place((ours or namesakes)[0].ref)

    async def take_pooler(self, spec: DatabaseSpec) -> None:
        """Reach the project through its pooler from now on."""
        place = await self.find_place(spec)
        pooler = await self.api.get_pooler(place.ref)
        self._places[spec.name] = Place.parse(f"{place.ref}@{pooler.host}")

    def leave_pooler(self, spec: DatabaseSpec) -> None:
        """Reach the project at its own host again."""
        if (place := self._places.get(spec.name)) is not None:
            self._places[spec.name] = Place(place.ref)

    async def begin(self, spec: DatabaseSpec) -> str | None:
        """Have the project made, without waiting for it; its status, None once it is up.

        One that was made before is adopted; however often this is interrupted, and however many do
        it at once, one project is left. Raises DatabaseForeign, ProjectFailed, and what
        `ManagementApi` raises.
        """
        async with self._making[spec.name]:
            project = await self._find_met(spec) or await self._find_ours(spec)
            if project is None:
                await failpoints.reach(BEFORE_CREATE)
                account = self.account
                made = await self.api.create_project(
                    self.name(spec), account.organization, account.region, self.password(spec)
                )
                await failpoints.reach(CREATED)
                # Somebody may have made another one meanwhile.
                project = await self._find_ours(spec) or made
            met = self._places.get(spec.name)
            if met is None or met.ref != project.ref:
                self._places[spec.name] = Place(project.ref)
        if project.status in FAILED | GONE:
            raise ProjectFailed(project=project.ref, status=project.status)
        return None if project.status == READY else project.status

    async def list_ours(self, spec: DatabaseSpec) -> list[Project]:
        """The projects that were made for `spec`, the oldest first; raises DatabaseForeign."""
        namesakes = await self._list_namesakes(spec)
        ours = [each for each in namesakes if each.name == self.name(spec)]
        if namesakes and not ours:
            made = "something else made it"
            if namesakes[0].name != spec.name:
                made = "it was made with another secret.key"
            raise DatabaseForeign(server=self.server, database=spec.name, reason=made)
        return ours

    async def delete(self, refs: set[str], spec: DatabaseSpec) -> None:
        """Delete the projects `refs`, which are ours."""
        for ref in sorted(refs):
            await self.api.delete_project(ref)
            await failpoints.reach(DELETED)
        self._places.pop(spec.name, None)

    async def _find_met(self, spec: DatabaseSpec) -> Project | None:
        """The project as it is now, where it was met before."""
        place = self._places.get(spec.name)
        if place is None:
            return None
        try:
            return await self.api.get_project(place.ref)
        except ProjectUnknown:
            self._places.pop(spec.name, None)
            return None

    async def _find_ours(self, spec: DatabaseSpec) -> Project | None:
        """The oldest of them; younger ones, which a lost answer has left, are deleted."""
        ours = await self.list_ours(spec)
        for each in ours[1:]:
            await self.api.delete_project(each.ref)
        return ours[0] if ours else None

    async def _list_namesakes(self, spec: DatabaseSpec) -> list[Project]:
        """Those called as `spec` is, with whatever tag, or with none."""
        found = await self.api.find_projects(self.account.organization, spec.name)
        length = len(self.name(spec))
        return [
            each
            for each in found
            if each.status not in GONE
            and (
                each.name == spec.name
                or (each.name.startswith(f"{spec.name}-") and len(each.name) == length)
            )
        ]
