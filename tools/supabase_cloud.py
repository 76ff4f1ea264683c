"""What Supabase's Management API works on, on this machine: organizations and their projects.

A project that is made is a PostgreSQL that really runs (`supabase_projects.py`); it comes up while
its status is asked for. How it is asked over HTTP is in `supabase_api.py`.
"""

import asyncio
import datetime as dt
import json
import secrets
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import asyncpg
from supabase_projects import Cluster, Machines, ProjectFailed

from bulkhead.engine.clock import now

HOST_SUFFIX = ".supabase.co"
POOLER_SUFFIX = ".pooler.supabase.com"
POOLER = "127.77.255.1"
"""The address where `supabase_pooler.py` listens."""
NOBODY = "127.77.255.2"


@dataclass(slots=True)
class Organization:
    """Who has projects."""

    slug: str
    tokens: set[str]
    projects_max: int = 1000


@dataclass(slots=True)
class Project:
    """A project, with its server once it has one."""

    ref: str
    name: str
    organization: Organization
    region: str
    created_at: dt.datetime
    polls_left: int
    """How often its status is asked for before it is up."""
    outcome: str = "ACTIVE_HEALTHY"
    cluster: Cluster | None = None
    making: asyncio.Task[None] | None = None

    @property
    def status(self) -> str:
        """As the description calls it."""
        is_up = self.cluster is not None or self.outcome != "ACTIVE_HEALTHY"
        return self.outcome if is_up and self.polls_left <= 0 else "COMING_UP"


class Refused(Exception):
    """A request that is refused."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


@dataclass(frozen=True, slots=True)
class Call:
    """A request that passed the checks."""

    token: str
    arguments: Mapping[str, str]
    query: Mapping[str, str]
    body: Any


@dataclass(slots=True, eq=False)
class Cloud:
    """The organizations and their projects; the operations are those of the description."""

    machines: Machines
    organizations: dict[str, Organization] = field(default_factory=dict)
    projects: dict[str, Project] = field(default_factory=dict)
    polls: int = 1
    """How often the status of a new project is asked for before it is up."""
    outcome: str = "ACTIVE_HEALTHY"
    """How new projects end up."""
    is_direct: bool = True
    """Whether projects can be reached at their own hosts, as by IPv6 only."""

    def add_organization(self, slug: str | None = None, projects_max: int = 1000) -> Organization:
        """An organization with a token of its own."""
        slug = slug or _letters(20)
        organization = Organization(slug, {f"sbp_{secrets.token_hex(20)}"}, projects_max)
        self.organizations[slug] = organization
        return organization

    def named(self, name: str) -> list[Project]:
        """The projects of that name, whatever their tags are."""
        return [
            each
            for each in self.projects.values()
            if each.name == name or each.name.startswith(f"{name}-")
        ]

    async def make_project(
        self, organization: Organization, name: str, password: str, region: str = "eu-central-1"
    ) -> Project:
        """A project that somebody makes in the dashboard, up and running."""
        project = self._add(organization, name, region)
        project.polls_left = 0
        await self._bring_up(project, password)
        return project

    async def resolve(self, host: str, port: int) -> Sequence[str]:  # noqa: ARG002 - as resolvers do
        """The address of a project's server; for `Egress.resolve`."""
        if host.endswith(POOLER_SUFFIX):
            return [POOLER]
        if host in {"127.0.0.1", "localhost"}:
            return ["127.0.0.1"]
        ref = host.removeprefix("db.").removesuffix(HOST_SUFFIX)
        project = self.projects.get(ref)
        if project is None or project.cluster is None:
            raise OSError(-2, "Name or service not known")
        return [project.cluster.address if self.is_direct else NOBODY]

    def delete(self, ref: str) -> None:
        """Take a project away with its server."""
        project = self.projects.pop(ref)
        if project.making is not None:
            project.making.cancel()
        if project.cluster is not None:
            self.machines.destroy(project.cluster)

    def knows(self, token: str) -> bool:
        """Whether anybody has the token."""
        return any(token in each.tokens for each in self.organizations.values())

    async def _list_organizations(self, call: Call) -> tuple[int, object]:
        slugs = [each.slug for each in self.organizations.values() if call.token in each.tokens]
        return 200, [{"id": slug, "slug": slug, "name": f"The {slug}"} for slug in slugs]

    async def _list_projects(self, call: Call) -> tuple[int, object]:
        found = [each for each in self.projects.values() if call.token in each.organization.tokens]
        return 200, [_shown(each, with_database=True) for each in found]

    async def _list_of_organization(self, call: Call) -> tuple[int, object]:
        organization = self._organization(call, call.arguments["slug"])
        word = call.query.get("search", "")
        offset, limit = int(call.query.get("offset", 0)), int(call.query.get("limit", 100))
        found = [
            each
            for each in self.projects.values()
            if each.organization is organization and word in each.name
        ]
        page = [
            {
                "ref": each.ref,
                "name": each.name,
                "cloud_provider": "AWS",
                "region": each.region,
                "is_branch": False,
                "status": each.status,
                "inserted_at": each.created_at.isoformat(),
                "databases": [],
            }
            for each in sorted(found, key=lambda each: each.name)[offset : offset + limit]
        ]
        told = {"count": len(found), "limit": limit, "offset": offset}
        return 200, {"projects": page, "pagination": told}

    async def _create_project(self, call: Call) -> tuple[int, object]:
        organization = self._organization(call, call.body["organization_slug"])
        theirs = [each for each in self.projects.values() if each.organization is organization]
        if len(theirs) >= organization.projects_max:
            raise Refused(400, "The organization has reached its maximum number of projects.")
        selection = call.body.get("region_selection", {})
        project = self._add(organization, call.body["name"], selection.get("code", "us-east-1"))
        if project.outcome == "ACTIVE_HEALTHY":
            project.making = asyncio.create_task(self._bring_up(project, call.body["db_pass"]))
        return 201, _shown(project)

    async def _get_project(self, call: Call) -> tuple[int, object]:
        project = self._project(call)
        answer = _shown(project, with_database=True)
        project.polls_left -= 1
        if project.polls_left <= 0 and project.making is not None:
            await asyncio.wait([project.making])
        return 200, answer

    async def _delete_project(self, call: Call) -> tuple[int, object]:
        project = self._project(call)
        self.delete(project.ref)
        return 200, {"id": 1, "ref": project.ref, "name": project.name}

    async def _list_keys(self, call: Call) -> tuple[int, object]:
        project = self._project(call)
        shown = call.query.get("reveal") == "true"
        return 200, [
            {
                "name": name,
                "type": "legacy",
                "api_key": f"eyJ.{name}.{project.ref}" if shown else "••••",
            }
            for name in ("anon", "service_role")
        ]

    async def _show_pooler(self, call: Call) -> tuple[int, object]:
        project = self._project(call)
        host = f"aws-0-{project.region}.pooler.supabase.com"
        url = f"postgresql://postgres.{project.ref}:[YOUR-PASSWORD]@{host}:6543/postgres"
        return 200, [
            {
                "identifier": project.ref,
                "database_type": "PRIMARY",
                "is_using_scram_auth": True,
                "db_user": f"postgres.{project.ref}",
                "db_host": host,
                "db_port": 6543,
                "db_name": "postgres",
                "connection_string": url,
                "connectionString": url,
                "default_pool_size": 15,
                "max_client_conn": 200,
                "pool_mode": "transaction",
            }
        ]

    async def _show_health(self, call: Call) -> tuple[int, object]:
        project = self._project(call)
        is_up = project.status == "ACTIVE_HEALTHY"
        status = "ACTIVE_HEALTHY" if is_up else "COMING_UP"
        names = call.query.get("services", "db").split(",")
        return 200, [{"name": name, "healthy": is_up, "status": status} for name in names]

    async def _query(self, call: Call) -> tuple[int, object]:
        cluster = self._project(call).cluster
        if cluster is None:
            raise Refused(400, "The project is not up.")
        async with cluster.look() as admin:
            try:
                await admin.execute("set role postgres")
                rows = await admin.fetch(call.body["query"])
            except asyncpg.PostgresError as error:
                raise Refused(400, f"Failed to run sql query: {error}") from error
        return 201, [json.loads(json.dumps(dict(row), default=str)) for row in rows]

    async def _set_password(self, call: Call) -> tuple[int, object]:
        cluster = self._project(call).cluster
        if cluster is None:
            raise Refused(400, "The project is not up.")
        await cluster.set_password(call.body["password"])
        return 200, {"message": "Successfully updated password"}

    def _add(self, organization: Organization, name: str, region: str) -> Project:
        project = Project(
            _letters(20), name, organization, region, now(), self.polls, outcome=self.outcome
        )
        self.projects[project.ref] = project
        return project

    async def _bring_up(self, project: Project, password: str) -> None:
        try:
            cluster = await self.machines.make(password)
        except ProjectFailed:
            project.outcome = "INIT_FAILED"
            raise
        if project.ref not in self.projects:
            self.machines.destroy(cluster)
            return
        project.cluster = cluster

    def _organization(self, call: Call, slug: str) -> Organization:
        found = self.organizations.get(slug)
        if found is None or call.token not in found.tokens:
            raise Refused(403, "You do not have access to this organization.")
        return found

    def _project(self, call: Call) -> Project:
        found = self.projects.get(call.arguments["ref"])
        if found is None:
            raise Refused(404, "Project not found")
        self._organization(call, found.organization.slug)
        return found


OPERATIONS: Mapping[str, Mapping[str, Any]] = {
    "/v1/organizations": {"get": Cloud._list_organizations},  # noqa: SLF001 - its own
    "/v1/organizations/{slug}/projects": {"get": Cloud._list_of_organization},  # noqa: SLF001
    "/v1/projects": {
        "get": Cloud._list_projects,  # noqa: SLF001
        "post": Cloud._create_project,  # noqa: SLF001
    },
    "/v1/projects/{ref}": {
        "get": Cloud._get_project,  # noqa: SLF001
        "delete": Cloud._delete_project,  # noqa: SLF001
    },
    "/v1/projects/{ref}/api-keys": {"get": Cloud._list_keys},  # noqa: SLF001
    "/v1/projects/{ref}/config/database/pooler": {"get": Cloud._show_pooler},  # noqa: SLF001
    "/v1/projects/{ref}/health": {"get": Cloud._show_health},  # noqa: SLF001
    "/v1/projects/{ref}/database/query": {"post": Cloud._query},  # noqa: SLF001
    "/v1/projects/{ref}/database/password": {"patch": Cloud._set_password},  # noqa: SLF001
}


def _shown(project: Project, *, with_database: bool = False) -> dict[str, object]:
    slug = project.organization.slug
    shown: dict[str, object] = {
        "id": project.ref,
        "ref": project.ref,
        "organization_id": slug,
        "organization_slug": slug,
        "name": project.name,
        "region": project.region,
        "created_at": project.created_at.isoformat(),
        "status": project.status,
    }
    if with_database:
        shown["database"] = {
            "host": f"db.{project.ref}{HOST_SUFFIX}",
            "version": "17.6.1.054",
            "postgres_engine": "17",
            "release_channel": "ga",
        }
    return shown


def _letters(number: int) -> str:
    return "".join(secrets.choice(string.ascii_lowercase) for _ in range(number))
