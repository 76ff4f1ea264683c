import re
from email import message_from_bytes
from email.policy import default
from urllib.parse import parse_qs, urlsplit

import pytest

from bulkhead.capabilities.identity.mail.carrier import render_message
from bulkhead.capabilities.identity.mail.delivery import pause_s
from bulkhead.capabilities.identity.mail.letter import (
    Letter,
    Permission,
    render_account_exists,
    render_confirmation,
    render_email_change,
    render_invitation,
    render_magic_link,
    render_reauthentication,
    render_recovery,
    render_text_message,
)
from bulkhead.capabilities.identity.model import Channel
from bulkhead.engine.ids import new_id

EVIL = "<script>alert(1)</script>\r\nBcc: eve@example.com"
PERMISSION = Permission(
    application="The Shop",
    recipient="ada@example.com",
    issuer="https://shop.example/commerce/auth/v1",
    type="signup",
    secret="secret&more",  # noqa: S106
    digits="012345",
    redirect_to="https://shop.example/welcome?a=b&c=d",
    ttl_s=3600.0,
)


def letters(permission: Permission) -> list[Letter]:
    return [
        render_confirmation(permission),
        render_recovery(permission),
        render_magic_link(permission),
        render_invitation(permission),
        render_email_change(permission, "new@example.com"),
    ]


def test_every_letter_says_code_and_link_in_both_parts() -> None:
    for letter in letters(PERMISSION):
        assert letter.recipient == "ada@example.com"
        assert "The Shop" in letter.subject
        assert "012345" in letter.text
        assert "012345" in letter.html
        assert "60 minutes" in letter.text
        assert PERMISSION.link in letter.text
        assert PERMISSION.link.replace("&", "&amp;") in letter.html


def test_the_link_carries_what_it_is_given() -> None:
    parts = urlsplit(PERMISSION.link)
    assert f"{parts.scheme}://{parts.netloc}{parts.path}" == f"{PERMISSION.issuer}/verify"
    assert parse_qs(parts.query) == {
        "token": ["secret&more"],
        "type": ["signup"],
        "redirect_to": ["https://shop.example/welcome?a=b&c=d"],
    }


def test_a_letter_shows_markup_as_text_and_keeps_to_its_headers() -> None:
    evil = Permission(EVIL, "ada@example.com", "https://x", "signup", "s", "1", EVIL, 60.0)
    for letter in [
        *letters(evil),
        render_email_change(PERMISSION, EVIL),
        render_account_exists(EVIL, "ada@example.com", "https://x"),
    ]:
        assert "<script" not in letter.html
        assert "\n" not in letter.subject
        message = render_message(new_id(), letter, "Shop <shop@example.com>")
        assert message["Bcc"] is None


def test_a_recipient_cannot_add_headers() -> None:
    letter = Letter("ada@example.com\r\nBcc: eve@example.com", "subject", "text", "html")
    with pytest.raises(ValueError, match="linefeed"):
        render_message(new_id(), letter, "shop@example.com")


def test_the_message_has_a_text_and_an_html_part() -> None:
    mail_id = new_id()
    letter = render_confirmation(PERMISSION)
    raw = render_message(mail_id, letter, "Shop <shop@shop.example>").as_bytes()
    message = message_from_bytes(raw, policy=default)
    assert message.get_content_type() == "multipart/alternative"
    assert message["Message-ID"] == f"<{mail_id}@shop.example>"
    text, html = (message.get_body((kind,)) for kind in ("plain", "html"))
    assert text is not None
    assert html is not None
    assert re.sub(r"\s+", " ", text.get_content()) == re.sub(r"\s+", " ", letter.text)
    assert "<!doctype html>" in html.get_content()


def test_the_pauses_grow_up_to_an_hour() -> None:
    assert [pause_s(attempt) for attempt in (1, 2, 3, 10)] == [15.0, 30.0, 60.0, 3600.0]


def test_secrets_do_not_show() -> None:
    assert "secret&more" not in repr(PERMISSION)
    assert "012345" not in repr(render_confirmation(PERMISSION))


def test_a_code_to_change_the_password_comes_without_a_link() -> None:
    letter = render_reauthentication(EVIL, "ada@example.com", "012345", 3600.0)
    for part in (letter.text, letter.html):
        assert "012345" in part
        assert "http" not in part
    assert "<script" not in letter.html
    assert "\n" not in letter.subject


@pytest.mark.parametrize(
    ("ttl_s", "time"), [(60.0, "1 minute."), (30.0, "1 minute."), (300.0, "5 minutes.")]
)
def test_a_text_message_is_one_line_with_the_code(ttl_s: float, time: str) -> None:
    letter = render_text_message("The\nShop", "4930123", "012345", ttl_s, Channel.WHATSAPP)
    assert letter.text == f"Your code at The Shop is 012345. It works once, for {time}"
    assert (letter.recipient, letter.subject, letter.html) == ("4930123", "", "")
    assert letter.channel is Channel.WHATSAPP


def test_every_mail_says_what_a_click_does() -> None:
    subjects = [letter.subject for letter in letters(PERMISSION)]
    assert len(set(subjects)) == len(subjects)
