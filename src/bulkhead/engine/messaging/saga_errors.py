"""What a caller of a saga is told when it does not simply end well."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bulkhead.engine.errors import BulkheadError, Conflict, Unavailable

if TYPE_CHECKING:
    from collections.abc import Mapping


class IdempotencyKeyReused(BulkheadError):
    """This Idempotency-Key was used before with another request."""

    code = "idempotency_key_reused"
    status = 422
    hint = "Send the first request again unchanged, or use a new key for a new request."


class SagaInProgress(Conflict):
    """A request with this Idempotency-Key is being worked on."""

    code = "saga_in_progress"
    status = 409
    retry_after_s = 1
    hint = "Repeat the request with the same key in a moment."


class SagaPending(BulkheadError):
    """The request was accepted but is not finished; it will be, without further requests."""

    code = "saga_pending"
    status = 202
    retry_after_s = 2
    hint = "Repeat the request with the same Idempotency-Key to learn the outcome."


class SagaAbandoned(BulkheadError):
    """The request was interrupted and has been taken back."""

    code = "saga_abandoned"
    status = 409
    hint = "Send the request again with a new Idempotency-Key."


class SagaExpired(BulkheadError):
    """The request could not be finished in time and has been taken back."""

    code = "saga_expired"
    status = 409
    hint = "Send the request again with a new Idempotency-Key."


class SagaUnanswered(Unavailable):
    """It is not known yet whether the request was taken in; it may still be carried out."""

    code = "saga_unanswered"
    retry_after_s = 2
    hint = "Repeat the request with the same Idempotency-Key to learn the outcome."


class SagaDecided(Conflict):
    """Saga {saga_id} cannot be taken back any more: its step '{pivot}' has an outcome."""

    code = "saga_decided"
    hint = (
        "Let it end (bulkhead saga resume), then undo its result, such as by cancelling an order."
    )


class SagaUnknown(BulkheadError):
    """No saga is called '{name}'."""

    code = "saga_unknown"
    status = 404


class StoredRefusal(BulkheadError):
    """The refusal that this Idempotency-Key got the first time."""

    def __init__(self, stored: Mapping[str, Any]) -> None:
        """Take over what `store_error` kept."""
        self.stored = stored
        self.code = str(stored.get("code", "saga_abandoned"))  # type: ignore[misc]
        self.status = int(stored.get("status", 409))  # type: ignore[misc]
        super().__init__(**dict(stored.get("details") or {}))

    @property
    def message(self) -> str:
        """The message it had the first time."""
        return str(self.stored.get("message", ""))

    @property
    def advice(self) -> str:
        """The hint it had the first time."""
        return str(self.stored.get("hint", ""))


def store_error(error: BulkheadError) -> dict[str, Any]:
    """The error as a JSON value from which `StoredRefusal` gives the same answer again."""
    return {**error.to_json(), "status": error.status}


def is_transient(error: BulkheadError) -> bool:
    """Whether trying again later may help: a database is away, or gave way to another."""
    return error.status in _TRANSIENT


_TRANSIENT = (503, 504)
