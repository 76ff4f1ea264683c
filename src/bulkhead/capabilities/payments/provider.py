"""What a payment company must be able to do, whichever it is.

Every effect has a key that the caller chose and stored before. A call that gets no answer leaves
its outcome unknown; `find_charge` and `close_key` settle it by the key, `charge` is never repeated
under another one.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Protocol

from bulkhead.engine.errors import BulkheadError, Unavailable

KEY_CLOSED = "key_closed"
"""The decline code of a charge whose key had been closed before it arrived."""


class ChargeState(StrEnum):
    """What became of a charge."""

    SUCCEEDED = "succeeded"
    DECLINED = "declined"
    PENDING = "pending"
    """Accepted; a webhook tells later whether it succeeded."""


class RefundState(StrEnum):
    """What became of a refund."""

    SUCCEEDED = "succeeded"
    DECLINED = "declined"


class EventType(StrEnum):
    """What a webhook tells."""

    PAYMENT_SUCCEEDED = "payment.succeeded"
    PAYMENT_FAILED = "payment.failed"
    REFUND_SUCCEEDED = "refund.succeeded"


@dataclass(frozen=True, slots=True)
class ChargeResult:
    """The answer to a charge; `code` says why it was declined."""

    state: ChargeState
    provider_ref: str | None = None
    code: str | None = None


@dataclass(frozen=True, slots=True)
class Charge:
    """A charge as the payment company has it in its books."""

    key: str
    state: ChargeState
    amount: Decimal
    currency: str
    provider_ref: str
    created_at: dt.datetime
    code: str | None = None
    refunded: Decimal = Decimal(0)
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RefundResult:
    """The answer to a refund; `code` says why it was declined."""

    state: RefundState
    provider_ref: str | None = None
    code: str | None = None


@dataclass(frozen=True, slots=True)
class PaymentEvent:
    """What a verified webhook tells of a charge or of a refund."""

    id: str
    """The same in every delivery of the same event."""
    provider: str
    type: EventType
    charge_key: str
    amount: Decimal
    currency: str
    provider_ref: str
    """Of the charge, or of the refund."""
    created_at: dt.datetime
    sequence: int
    """Grows with the provider's own order of events; deliveries may come in any order."""
    refund_key: str | None = None
    code: str | None = None
    """Why the payment failed."""


class PaymentUnavailable(Unavailable):
    """Payment company '{provider}' is not available at the moment."""

    code = "payment_unavailable"


class PaymentKeyReused(BulkheadError):
    """The payment key '{key}' was used before with another amount, currency or source."""

    code = "payment_key_reused"
    status = 422
    hint = "Use a new key for another payment."


class WebhookRefused(BulkheadError):
    """The webhook is not believed."""

    code = "webhook_refused"
    status = 400
    hint = "Check that the sender and this server share the webhook secret and the time of day."


class PaymentProvider(Protocol):
    """A payment company."""

    @property
    def name(self) -> str:
        """The name that its events carry."""

    async def charge(
        self,
        key: str,
        amount: Decimal,
        currency: str,
        source: str,
        metadata: Mapping[str, str] | None = None,
    ) -> ChargeResult:
        """Charge `source` once, however often this is called with `key`.

        Raises TimeoutError or PaymentUnavailable when the outcome is unknown, PaymentKeyReused
        when `key` stands for another charge, Invalid for an amount that cannot be charged. A key
        that has been closed is declined with the code `key_closed`.
        """

    async def find_charge(self, key: str) -> Charge | None:
        """What became of `key`, None when no charge has arrived under it so far."""

    async def close_key(self, key: str) -> Charge | None:
        """What became of `key`; when nothing did, a charge that arrives later is refused for ever.

        After None nothing will ever be charged under `key`.
        """

    async def refund(self, key: str, charge_key: str, amount: Decimal) -> RefundResult:
        """Give `amount` of a charge back, once for each `key`.

        It is declined with the code `charge_unknown`, `charge_not_succeeded` or
        `amount_exceeds_charge`, the last when all refunds together would exceed the charge. Raises
        as `charge` does.
        """

    def verify_webhook(self, headers: Mapping[str, str], body: bytes) -> PaymentEvent:
        """Read an event from the raw body of a request that this company has signed.

        Raises WebhookRefused, whose code says what is wrong.
        """
