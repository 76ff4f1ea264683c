"""What is to be done, worked out from a request and the schema; no SQL yet.

Source: PostgREST v14, `Plan.hs`.
"""

from __future__ import annotations

from dataclasses import dataclass

from bulkhead.gateway.rest.config import RestConfig
from bulkhead.gateway.rest.plan_call import Call
from bulkhead.gateway.rest.plan_media import Media
from bulkhead.gateway.rest.plan_tree import ReadNode
from bulkhead.gateway.rest.plan_write import Mutation
from bulkhead.gateway.rest.request import ApiRequest, Count
from bulkhead.gateway.rest.schema import Function, Name, Schema


@dataclass(frozen=True, slots=True)
class ReadPlan:
    """Reading a table or a view."""

    target: Name
    root: ReadNode
    media: Media
    count: Count | None
    max_rows: int | None

    @property
    def is_read_only(self) -> bool:
        """Whether the transaction is read-only."""
        return True

    @property
    def function(self) -> Function | None:
        """The function whose settings hold for the transaction."""
        return None


@dataclass(frozen=True, slots=True)
class WritePlan:
    """Writing to a table or a view."""

    target: Name
    mutation: Mutation
    root: ReadNode
    """Reads the rows that were written, for the representation."""
    media: Media
    primary_key: tuple[str, ...]
    wants_location: bool
    """An insert with `return=headers-only`: `location` is filled when it was one row."""
    wants_inserted: bool
    """Whether `inserted` is filled: PUT, and an insert that merges duplicates."""
    resolution_applies: bool
    """Whether there is a key by which duplicates are found."""

    @property
    def is_read_only(self) -> bool:
        """Whether the transaction is read-only."""
        return False

    @property
    def function(self) -> Function | None:
        """The function whose settings hold for the transaction."""
        return None


@dataclass(frozen=True, slots=True)
class CallPlan:
    """Calling a function and reading what it returns."""

    target: Name
    call: Call
    root: ReadNode
    media: Media
    count: Count | None
    max_rows: int | None
    is_read_only: bool

    @property
    def function(self) -> Function | None:
        """The function whose settings hold for the transaction."""
        return self.call.function


Plan = ReadPlan | WritePlan | CallPlan


def make_plan(request: ApiRequest, schema: Schema, config: RestConfig) -> Plan:
    """Work out how a read, a write or a call is done.

    Raises a RestError where the request asks for what the schema has not, or has more than once.
    """
    raise NotImplementedError
