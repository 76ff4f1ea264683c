"""The JSON body of a webhook of the local provider, written and read."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal, InvalidOperation

from bulkhead.capabilities.payments.provider import EventType, PaymentEvent, WebhookRefused


class WebhookMalformed(WebhookRefused):
    """The webhook's body is not an event that is known here."""

    code = "webhook_malformed"
    hint = "The signature fits, so the sender speaks another version."


def render_event(event: PaymentEvent) -> str:
    """The event as the text of a request body."""
    return json.dumps(
        {
            "id": event.id,
            "type": event.type.value,
            "charge_key": event.charge_key,
            "refund_key": event.refund_key,
            "amount": str(event.amount),
            "currency": event.currency,
            "provider_ref": event.provider_ref,
            "code": event.code,
            "created_at": event.created_at.isoformat(),
            "sequence": event.sequence,
        },
        separators=(",", ":"),
    )


def parse_event(body: bytes, provider: str) -> PaymentEvent:
    """Read what `render_event` wrote; raises WebhookMalformed."""
    try:
        fields = json.loads(body)
        event = PaymentEvent(
            id=_text(fields["id"]),
            provider=provider,
            type=EventType(fields["type"]),
            charge_key=_text(fields["charge_key"]),
            refund_key=None if fields["refund_key"] is None else _text(fields["refund_key"]),
            amount=Decimal(_text(fields["amount"])),
            currency=_text(fields["currency"]),
            provider_ref=_text(fields["provider_ref"]),
            code=None if fields["code"] is None else _text(fields["code"]),
            created_at=dt.datetime.fromisoformat(_text(fields["created_at"])),
            sequence=fields["sequence"],
        )
    except (ValueError, LookupError, TypeError, InvalidOperation, RecursionError):
        raise WebhookMalformed from None
    if not (event.amount.is_finite() and event.created_at.tzinfo and type(event.sequence) is int):
        raise WebhookMalformed
    return event


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        message = "not a text"
        raise TypeError(message)
    return value
