"""Provisioning jobs: what is asked for, how far it has come, and why it ended."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NewType
from uuid import UUID

from bulkhead.engine.errors import BulkheadError, Conflict, Invalid, NotFound
from bulkhead.engine.fleet.model import ConnectionConfig, ServerKind, TenantId

JobId = NewType("JobId", UUID)

LABEL_CHARACTERS_MAX = 255
STEPS_VERSION = 1
"""The version of the list of steps. A release that adds a step, or changes what one makes true,
raises it, so that workers of older releases leave the jobs alone that it has taken up."""


class JobMode(StrEnum):
    """Where the database comes from."""

    CREATE = "create"
    """It is made on a server of the fleet."""
    CONNECT = "connect"
    """Its owner has one already, anywhere."""


class JobState(StrEnum):
    """Where a job stands; the words of the table's CHECK."""

    QUEUED = "queued"
    """Nobody works on it at the moment; also between two attempts."""
    RUNNING = "running"
    UNDOING = "undoing"
    """It failed or was cancelled, and what it has made is being taken back."""
    ACTIVE = "active"
    """The tenant is served."""
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def has_ended(self) -> bool:
        """Whether nothing will happen any more."""
        return self in ENDED


ENDED = frozenset({JobState.ACTIVE, JobState.FAILED, JobState.CANCELLED})


class StepName(StrEnum):
    """The steps of every job, in their order."""

    OPEN = "open"
    """Create the database, or connect to the one there is."""
    TEST = "test"
    LIST_TABLES = "list_tables"
    CREATE_TABLES = "create_tables"
    MIGRATE = "migrate"
    SEED = "seed"
    VERIFY = "verify"
    SAVE = "save"
    ACTIVATE = "activate"


@dataclass(frozen=True, slots=True)
class ProvisioningRequest:
    """A database that a tenant shall have; raises Invalid for one that cannot be meant."""

    tenant: TenantId
    fleet: str
    label: str
    """What people call the tenant, such as the shop's slug; any text, never part of a name."""
    kind: ServerKind = ServerKind.POSTGRESQL
    config: ConnectionConfig | None = None
    """How its owner's database is reached; None has one made on a server of the fleet."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """What the server must be labelled with, such as a region, where one is made."""

    def __post_init__(self) -> None:
        if not self.label.strip() or len(self.label) > LABEL_CHARACTERS_MAX:
            raise Invalid(reason=f"a label has 1 to {LABEL_CHARACTERS_MAX} characters")
        try:
            self.label.encode()
        except UnicodeEncodeError:
            raise Invalid(reason="a label is text without lone surrogates") from None
        if "\0" in self.label:
            raise Invalid(reason="a label has no NUL character")
        if self.config is not None and self.config.kind is not self.kind:
            raise Invalid(reason="the connection is of another kind than the database")

    @property
    def mode(self) -> JobMode:
        """Whether it is made or connected to."""
        return JobMode.CREATE if self.config is None else JobMode.CONNECT

    @property
    def hash(self) -> str:
        """By which a repeat of the request is known; tells nothing about its secrets."""
        config = self.config
        place = config and [
            config.host,
            config.port,
            config.database,
            config.username,
            config.tls.value,
            config.pooled,
            config.project_url,
        ]
        parts = [self.fleet, self.kind.value, self.label, place, sorted(self.labels.items())]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class ProvisioningJob:
    """A job as its table has it."""

    id: JobId
    tenant: TenantId
    fleet: str
    mode: JobMode
    kind: ServerKind
    label: str
    wishes: Mapping[str, str]
    request_hash: str
    state: JobState
    step: StepName | None
    """What is being done, or was being done when it ended."""
    progress: int
    """0 to 100; 100 once the tenant is served."""
    message: str
    """For people: what is being done, or why it ended."""
    tables_created: int
    total_tables: int
    server: str | None
    database: str | None
    source: str | None
    error: Mapping[str, Any] | None
    """`code`, `message`, `hint`, `details` of what made it fail; as BulkheadError.to_json."""
    cancelling: bool
    attempts: int
    fence: int
    revision: int
    """Grows with every change."""
    created_at: dt.datetime
    updated_at: dt.datetime
    finished_at: dt.datetime | None
    sealed_config: bytes | None = field(repr=False)
    unknown_step: str | None = None
    """What another release was doing, where this one has no step of that name; `step` is None."""

    @property
    def has_ended(self) -> bool:
        """Whether nothing will happen any more."""
        return self.state.has_ended

    @property
    def step_name(self) -> str | None:
        """What is being done, in the words of whichever release does it."""
        return self.step.value if self.step is not None else self.unknown_step


class JobUnknown(NotFound):
    """There is no provisioning job {job}."""

    code = "provisioning_job_unknown"


class ProvisioningUnderway(Conflict):
    """Tenant {tenant} is being provisioned with other options by job {job}."""

    code = "provisioning_underway"
    hint = "Wait until it has ended, or cancel it: bulkhead provision cancel {job}."


class TenantProvisioned(Conflict):
    """Tenant {tenant} has its database already."""

    code = "tenant_provisioned"
    hint = "Move it, or delete it first."


class JobEnded(Conflict):
    """Provisioning job {job} has ended as '{state}'."""

    code = "provisioning_job_ended"


class JobLost(BulkheadError):
    """Provisioning job {job} was taken over by another worker."""

    code = "provisioning_job_lost"
    status = 409


class ProvisioningCancelled(BulkheadError):
    """The provisioning was cancelled."""

    code = "provisioning_cancelled"
    status = 409
    hint = "Everything it had made was taken back. Start it again whenever you like."


class ProvisioningGaveUp(BulkheadError):
    """The provisioning was interrupted {attempts} times and was given up."""

    code = "provisioning_gave_up"
    status = 503
    hint = "Everything it had made was taken back. See the server's log, then start it again."


class ProvisioningBroken(BulkheadError):
    """The provisioning broke at step '{step}' for a reason that nobody expected."""

    code = "provisioning_broken"
    hint = "See the server's log, and tell whoever runs it."
