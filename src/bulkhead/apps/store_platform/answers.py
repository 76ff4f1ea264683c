"""What clients of provisioning are told: how far a job has come, and why there is none."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final, Literal
from uuid import UUID

from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, Field

from bulkhead.engine.errors import BulkheadError, Invalid
from bulkhead.engine.provisioning.job import JobState, StepName
from bulkhead.http.answers import answer
from bulkhead.http.findings import findings

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from bulkhead.engine.provisioning.job import ProvisioningJob

STARTED: Final = "Database provisioning started"
WORDS: Final = {
    JobState.QUEUED: "provisioning",
    JobState.RUNNING: "provisioning",
    JobState.UNDOING: "undoing",
}
"""What the status of a job is called where it is not called after its state."""

Status = Literal["provisioning", "undoing", "active", "failed", "cancelled"]


class Started(BaseModel):
    """A job that was begun, or found."""

    model_config = ConfigDict(use_attribute_docstrings=True)
    success: Literal[True]
    message: str
    job_id: UUID = Field(alias="jobId")
    status: Status


class Progress(Started):
    """How far a job has come."""

    progress: int = Field(ge=0, le=100)
    """In per cent."""
    tables_created: int = Field(alias="tablesCreated")
    total_tables: int = Field(alias="totalTables")
    """0 while nobody has counted them."""
    store_id: UUID = Field(alias="storeId")
    step: StepName | None
    error: dict[str, Any] | None = None
    """Of a job that failed: `code`, `message`, `hint`, `details`."""


class Tried(BaseModel):
    """A connection, or an access token, that works."""

    model_config = ConfigDict(use_attribute_docstrings=True)
    success: Literal[True]
    message: str
    server_version: str | None = Field(default=None, alias="serverVersion")
    tables: int | None = None
    """How many there are in the database."""
    response_time_ms: int | None = Field(default=None, alias="responseTimeMs")
    organization_slug: str | None = Field(default=None, alias="organizationSlug")
    """Where the token leads, for one that is tried alone."""
    region: str | None = None


class Refusal(BaseModel):
    """Why something cannot be done about the database of a store."""

    model_config = ConfigDict(use_attribute_docstrings=True)
    success: Literal[False]
    message: str
    code: str
    """Stable; programs decide by it."""
    hint: str
    """What to do next."""


class ProvisioningRoute(APIRoute):
    """A route whose every refusal is a `Refusal`, also that of a token or of a field."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler, and what is told when it refuses."""
        handle = super().get_route_handler()

        async def tell(request: Request) -> Response:
            try:
                return await handle(request)
            except RequestValidationError as error:
                return refusal(Invalid(reason=_reason(error)))
            except BulkheadError as error:
                return refusal(error)

        return tell


def started(job: ProvisioningJob) -> dict[str, Any]:
    """A job as whoever asks for it is told."""
    return {
        "success": True,
        "message": job.message if job.has_ended else STARTED,
        "jobId": job.id,
        "status": WORDS.get(job.state, job.state.value),
    }


def status_of(job: ProvisioningJob) -> dict[str, Any]:
    """A job as whoever follows it is told."""
    told = {
        "success": True,
        "status": WORDS.get(job.state, job.state.value),
        "progress": job.progress,
        "message": job.message,
        "tablesCreated": job.tables_created,
        "totalTables": job.total_tables,
        "jobId": job.id,
        "storeId": job.tenant,
        "step": job.step,
    }
    return told if job.error is None else {**told, "error": dict(job.error)}


def refusal(error: BulkheadError) -> Response:
    """What a client is told when something cannot be done."""
    headers = {"Cache-Control": "no-store"}
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(error.retry_after_s)
    if error.status == 401:  # noqa: PLR2004
        headers["WWW-Authenticate"] = "Bearer"
    body = {"success": False, "message": error.message, "code": error.code, "hint": error.advice}
    return answer(body, error.status, headers)


def _reason(error: RequestValidationError) -> str:
    """Where the request is wrong, without what was sent."""
    errors = [{**each, "loc": each["loc"][1:]} for each in error.errors()]
    told = [f"{it['path']}: {it['message']}".removeprefix(": ") for it in findings(errors)]
    more = [f"and {len(errors) - len(told)} more"] if len(errors) > len(told) else []
    return "; ".join(told + more)
