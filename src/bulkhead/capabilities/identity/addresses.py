"""An address as somebody typed it: where to look, and whether it is of use here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bulkhead.capabilities.identity.errors import EmailDisabled, PhoneDisabled
from bulkhead.capabilities.identity.model import Channel
from bulkhead.capabilities.identity.users.service import parse_email, parse_phone

if TYPE_CHECKING:
    from bulkhead.capabilities.identity.settings import IdentitySettings


def parse_address(text: str, channel: Channel) -> str:
    """The address as it is stored and compared; raises EmailInvalid or PhoneInvalid."""
    return parse_email(text) if channel is Channel.EMAIL else parse_phone(text)


def check_enabled(settings: IdentitySettings, channel: Channel, what: str) -> None:
    """Raise EmailDisabled or PhoneDisabled; `what` is `signups` or `logins`."""
    if channel is Channel.EMAIL:
        if not settings.email_enabled:
            raise EmailDisabled(what=what)
    elif not settings.phone_enabled:
        raise PhoneDisabled(what=what)
