"""Supabase's Management API: what an account's token may do with its organizations and projects.

Everything that arrives is checked before it is used, and what the API says of a refusal is shown
but never followed. Only calls that may be repeated are: the one that makes a project is not, so
whoever made it looks for the project by its name. Source: the description that Supabase publishes,
https://api.supabase.com/api/v1-json, and its page on rate limits.
"""

from __future__ import annotations

import asyncio
import json
import math
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote, urlencode

from bulkhead.engine.clock import monotonic_s
from bulkhead.engine.drivers.foreign_text import bounded
from bulkhead.engine.drivers.secret import SecretText
from bulkhead.engine.egress import Egress, HostRefused
from bulkhead.engine.egress.guard import HostUnreachable
from bulkhead.engine.egress.request import Answer, AnswerUnusable, Bounds, Request, send
from bulkhead.engine.errors import Forbidden, Invalid, NotFound, Unavailable

API_URL: Final = "https://api.supabase.com"
PAGE: Final = 100
PAGES_MAX: Final = 50
MESSAGE_CHARACTERS_MAX: Final = 300
GROUPS: Final = frozenset({"americas", "emea", "apac"})
"""Regions that Supabase chooses in by itself."""
_REF: Final = re.compile(r"[a-z]{20}")
_SLUG: Final = re.compile(r"[\w-]{1,100}", re.ASCII)
_REGION: Final = re.compile(r"[a-z0-9-]{1,40}")
_TOO_MANY: Final = 429
_MISSING: Final = 404
_FAILED: Final = 500
_REFUSED: Final = 400


class TokenRefused(Forbidden):
    """Supabase refuses the access token: {reason}."""

    code = "supabase_token_refused"
    hint = "Make a token under Account > Access Tokens whose account may do this, and send that."


class OrganizationUnknown(NotFound):
    """The access token leads to no Supabase organization '{organization}'; it leads to {known}."""

    code = "supabase_organization_unknown"
    hint = "Name one by its slug, which stands in the address of its dashboard."


class ProjectUnknown(NotFound):
    """There is no Supabase project '{project}', or the access token does not lead to it."""

    code = "supabase_project_unknown"


class RequestRefused(Invalid):
    """Supabase refuses it: {reason}."""

    code = "supabase_request_refused"
    hint = "Read what it says; limits of a plan are raised in Supabase's dashboard."


class RateLimited(Unavailable):
    """Supabase takes no more requests with this token for {wait_s} s."""

    code = "supabase_rate_limited"
    retry_after_s = 60


class SupabaseUnavailable(Unavailable):
    """Supabase's Management API is not available: {reason}."""

    code = "supabase_unavailable"
    retry_after_s = 5
    hint = "See https://status.supabase.com."


@dataclass(frozen=True, slots=True)
class Project:
    """A project as the API describes it."""

    ref: str
    """20 small letters; hosts and addresses are made of it."""
    name: str
    region: str
    status: str
    """Such as `COMING_UP` or `ACTIVE_HEALTHY`; others may be added."""
    created_at: str


@dataclass(frozen=True, slots=True)
class Pooler:
    """Where a project's pooler is."""

    host: str
    port: int
    user: str
    database: str
    is_transaction: bool


@dataclass(frozen=True, slots=True)
class Patience:
    """How often what failed is tried again, and how long that may take."""

    tries: int = 3
    pause_s: float = 0.5
    wait_s_max: float = 20.0
    """How long one call waits at most until it may be sent again."""
    bounds: Bounds = field(default_factory=lambda: Bounds(timeout_s=30.0))


@dataclass(frozen=True, slots=True)
class ManagementApi:
    """The API for whom `token` is; each call may raise what follows.

    TokenRefused for 401 and 403, RequestRefused for other 4xx, RateLimited for 429 that does not
    end soon, SupabaseUnavailable for 5xx and where the egress guard does not let it be reached,
    AnswerUnusable for what is not as described or does not arrive, HostUnreachable.
    """

    egress: Egress
    token: SecretText
    url: str = API_URL
    patience: Patience = field(default_factory=Patience)

    async def list_organizations(self) -> tuple[str, ...]:
        """The slugs of the organizations that the token leads to."""
        found = await self._call("GET", "/v1/organizations")
        return tuple(self._text(each, "slug", _SLUG) for each in self._list(found))

    async def verify_organization(self, slug: str) -> None:
        """Raise TokenRefused or OrganizationUnknown unless the token leads to organization."""
        known = await self.list_organizations()
        if slug not in known:
            told = ", ".join(known[:10]) or "none"
            raise OrganizationUnknown(organization=slug, known=told)

    async def find_projects(self, organization: str, name: str) -> list[Project]:
        """The projects of an organization whose names begin with `name`, the oldest first."""
        found: list[Project] = []
        for page in range(PAGES_MAX):
            query = urlencode({"search": name, "limit": PAGE, "offset": page * PAGE})
            told = await self._call(
                "GET", f"/v1/organizations/{_slug(organization)}/projects?{query}"
            )
            rows = self._list(self._field(told, "projects"))
            found += [self._project(row, "inserted_at") for row in rows]
            if len(rows) < PAGE:
                break
        begun = [each for each in found if each.name.startswith(name)]
        return sorted(begun, key=lambda each: (each.created_at, each.ref))

    async def get_project(self, ref: str) -> Project:
        """A project; raises ProjectUnknown."""
        return self._project(await self._call("GET", f"/v1/projects/{_ref(ref)}"), "created_at")

    async def create_project(
        self, name: str, organization: str, region: str, password: SecretText
    ) -> Project:
        """Make a project; of a call that fails it is unknown whether there is one."""
        kind = "smartGroup" if region in GROUPS else "specific"
        body = {
            "name": name,
            "organization_slug": organization,
            "region_selection": {"type": kind, "code": region},
            "db_pass": password.reveal(),
        }
        return self._project(await self._call("POST", "/v1/projects", body), "created_at")

    async def delete_project(self, ref: str) -> None:
        """Delete a project with everything in it; nothing happens when there is none."""
        try:
            await self._call("DELETE", f"/v1/projects/{_ref(ref)}")
        except ProjectUnknown:
            return

    async def get_health(self, ref: str, services: Sequence[str] = ("db",)) -> Mapping[str, str]:
        """The state of some of a project's services, by their names."""
        query = urlencode({"services": ",".join(services)})
        found = self._list(await self._call("GET", f"/v1/projects/{_ref(ref)}/health?{query}"))
        return {self._text(each, "name"): self._text(each, "status") for each in found}

    async def list_keys(self, ref: str) -> Mapping[str, SecretText]:
        """A project's API keys, by their names, such as `anon` and `service_role`."""
        found = await self._call("GET", f"/v1/projects/{_ref(ref)}/api-keys?reveal=true")
        keys = {}
        for each in self._list(found):
            if isinstance(each, dict) and isinstance(each.get("api_key"), str):
                keys[self._text(each, "name")] = SecretText(each["api_key"])
        return keys

    async def get_pooler(self, ref: str) -> Pooler:
        """Where the pooler of a project's primary database is; raises ProjectUnknown."""
        path = f"/v1/projects/{_ref(ref)}/config/database/pooler"
        for each in self._list(await self._call("GET", path)):
            if self._text(each, "database_type") == "PRIMARY":
                port = self._field(each, "db_port")
                if not isinstance(port, int):
                    raise self._unusable("a port is a number")
                return Pooler(
                    self._text(each, "db_host"),
                    port,
                    self._text(each, "db_user"),
                    self._text(each, "db_name"),
                    is_transaction=self._text(each, "pool_mode") == "transaction",
                )
        raise self._unusable("it names no pooler of the primary database")

    async def query(self, ref: str, sql: str, *, read_only: bool = False) -> list[dict[str, Any]]:
        """Run `sql` as `postgres` and return its rows; not repeated when it fails."""
        body = {"query": sql, "read_only": read_only}
        rows = self._list(
            await self._call("POST", f"/v1/projects/{_ref(ref)}/database/query", body)
        )
        return [row for row in rows if isinstance(row, dict)]

    async def set_password(self, ref: str, password: SecretText) -> None:
        """Give `postgres` of a project another password."""
        path = f"/v1/projects/{_ref(ref)}/database/password"
        await self._call("PATCH", path, {"password": password.reveal()})

    async def _call(self, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401
        """Send a request until it is answered, repeating only what may be repeated."""
        deadline_s = monotonic_s() + self.patience.wait_s_max
        for number in range(self.patience.tries):
            is_last = number == self.patience.tries - 1
            try:
                return self._read(await self._send(method, path, body), path)
            except RateLimited as error:
                # It was not done, whatever it was.
                pause_s = float(str(error.details["wait_s"]))
                if is_last or monotonic_s() + pause_s > deadline_s:
                    raise
            except (AnswerUnusable, HostUnreachable, SupabaseUnavailable):
                pause_s = self.patience.pause_s * 2**number
                if is_last or method == "POST":
                    raise
            await asyncio.sleep(pause_s * random.uniform(1.0, 1.25))  # noqa: S311 - no secret
        raise AssertionError("the last try returns or raises")

    async def _send(self, method: str, path: str, body: object) -> Answer:
        headers = [
            ("authorization", f"Bearer {self.token.reveal()}"),
            ("accept", "application/json"),
        ]
        if body is not None:
            headers.append(("content-type", "application/json"))
        text = b"" if body is None else json.dumps(body).encode()
        request = Request(method, self.url.rstrip("/") + path, tuple(headers), text)
        try:
            return await send(self.egress, request, self.patience.bounds)
        except HostRefused as error:
            # Its name cannot be looked up, as a rule.
            raise SupabaseUnavailable(reason=error.message.rstrip(".")) from error

    def _read(self, answer: Answer, path: str) -> Any:  # noqa: ANN401
        if answer.status < _REFUSED:
            try:
                return json.loads(answer.body or b"null")
            except ValueError:
                raise self._unusable("it is not JSON") from None
        if answer.status == _TOO_MANY:
            raise RateLimited(wait_s=_wait_s(answer))
        if answer.status >= _FAILED:
            raise SupabaseUnavailable(reason=f"it answered {answer.status}")
        reason = self._message(answer)
        if answer.status in {401, 403}:
            raise TokenRefused(reason=reason)
        if answer.status == _MISSING and path.startswith("/v1/projects/"):
            raise ProjectUnknown(project=path.split("/")[3].partition("?")[0])
        raise RequestRefused(reason=reason)

    def _message(self, answer: Answer) -> str:
        """What the API says of a refusal, without our token should it be repeated there."""
        try:
            told = json.loads(answer.body)
            text = told["message"] if isinstance(told["message"], str) else str(told["message"])
        except (ValueError, KeyError, TypeError):
            text = f"it answered {answer.status}"
        text = text.replace(self.token.reveal(), "••••")
        return (bounded(text) or "")[:MESSAGE_CHARACTERS_MAX].rstrip(". \n")

    def _project(self, row: object, created: str) -> Project:
        return Project(
            ref=self._text(row, "ref", _REF),
            name=self._text(row, "name"),
            region=self._text(row, "region"),
            status=self._text(row, "status"),
            created_at=self._text(row, created),
        )

    def _list(self, value: object) -> list[Any]:
        if not isinstance(value, list):
            raise self._unusable("a list was expected")
        return value

    def _field(self, row: object, name: str) -> object:
        if not isinstance(row, dict) or name not in row:
            raise self._unusable(f"it has no field '{name}'")
        return row[name]

    def _text(self, row: object, name: str, pattern: re.Pattern[str] | None = None) -> str:
        value = self._field(row, name)
        if not isinstance(value, str) or not value.isprintable():
            raise self._unusable(f"field '{name}' is no text")
        if pattern is not None and not pattern.fullmatch(value):
            raise self._unusable(f"field '{name}' is not what it should be")
        return value

    def _unusable(self, reason: str) -> AnswerUnusable:
        return AnswerUnusable(host=self.url.partition("://")[2], reason=reason)


def verify_account(organization: str, region: str) -> None:
    """Raise Invalid for what cannot be the slug of an organization or the code of a region."""
    if not _SLUG.fullmatch(organization):
        raise Invalid(reason="the organization is named by its slug: letters, digits and hyphens")
    if not _REGION.fullmatch(region):
        raise Invalid(reason="a region is a code such as eu-central-1, or americas, emea or apac")


def _ref(ref: str) -> str:
    if not _REF.fullmatch(ref):
        raise ProjectUnknown(project=(bounded(ref) or "")[:40])
    return ref


def _slug(organization: str) -> str:
    return quote(organization, safe="")


def _wait_s(answer: Answer) -> int:
    """How long to wait: as Retry-After says in seconds, else x-ratelimit-reset, else a minute."""
    for name in ("retry-after", "x-ratelimit-reset"):
        value = answer.header(name) or ""
        if re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6})?", value):
            return max(math.ceil(float(value)), 1)
    return 60
