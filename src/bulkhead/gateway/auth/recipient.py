"""Whom a request is about: an e-mail address or a telephone number, never both."""

from dataclasses import dataclass

from bulkhead.capabilities.identity.model import Channel
from bulkhead.gateway.auth.body import Body
from bulkhead.gateway.auth.errors import RequestInvalid

CHANNELS = {channel.value: channel for channel in (Channel.SMS, Channel.WHATSAPP)}


@dataclass(frozen=True, slots=True)
class Recipient:
    """An address as it was typed, and how it is reached."""

    address: str
    channel: Channel


def find_recipient(body: Body, both: str) -> Recipient | None:
    """The address of a request, None without one; raises RequestInvalid, saying `both` for two."""
    email, phone = body.text("email"), body.text("phone")
    if email and phone:
        raise RequestInvalid(reason=both)
    if email:
        return Recipient(email, Channel.EMAIL)
    if phone:
        return Recipient(phone, read_channel(body))
    return None


def read_channel(body: Body) -> Channel:
    """How a message reaches a number; raises RequestInvalid."""
    wanted = body.text("channel") or Channel.SMS.value
    if wanted not in CHANNELS:
        raise RequestInvalid(
            reason="Invalid channel, supported values are 'sms' or 'whatsapp'. 'whatsapp' is only "
            "supported if Twilio or Twilio Verify is used as the provider."
        )
    return CHANNELS[wanted]
