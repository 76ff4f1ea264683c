import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from tests.integration.capabilities.identity.club import QUICK, Club, open_club, together
from tests.integration.capabilities.identity.smtp_server import SmtpServer, open_smtp_server
from tests.integration.engine.fleet.stalled import stalled

from bulkhead.capabilities.identity import deliver_mail
from bulkhead.capabilities.identity.mail import delivery
from bulkhead.capabilities.identity.mail.carrier import SmtpCarrier
from bulkhead.capabilities.identity.mail.delivery import ATTEMPTS_MAX, CARRIED, Mailer
from bulkhead.capabilities.identity.mail.service import claim_mail, mark_sent, park_mail
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.settings import Settings, Smtp
from bulkhead.engine.system import System
from bulkhead.engine.testing import crash_at


@pytest.fixture
async def post_office() -> AsyncIterator[SmtpServer]:
    async with open_smtp_server() as server:
        yield server


@pytest.fixture
def club_with_post(system: System, post_office: SmtpServer) -> Club:
    smtp = Smtp("127.0.0.1", post_office.port, sender="The Club <club@example.com>", starttls=False)
    return open_club(system, settings=Settings(home=system.settings.home, smtp=smtp))


async def states(club: Club) -> list[tuple[str, int]]:
    rows = await club.rows("select state, attempts from private.mail_queue order by created_at")
    return [(row["state"], row["attempts"]) for row in rows]


async def make_due(club: Club) -> None:
    await club.rows("update private.mail_queue set due_at = now() where state = 'queued'")


async def test_mail_is_handed_over_after_the_commit(
    club_with_post: Club, post_office: SmtpServer
) -> None:
    await club_with_post.browser.sign_up()
    assert post_office.connections == 0
    assert await club_with_post.identity.mailer.deliver_due() == 1
    [letter] = post_office.letters
    assert letter["To"] == "ada@example.com"
    assert letter["From"] == "The Club <club@example.com>"
    assert letter["Subject"] == "Confirm your e-mail address at The Club"
    text, html = (letter.get_body((kind,)) for kind in ("plain", "html"))
    assert text is not None
    assert html is not None
    assert "/club/auth/v1/verify?token=" in text.get_content()
    assert "/club/auth/v1/verify?token=" in html.get_content()
    assert await states(club_with_post) == [("sent", 1)]
    assert await club_with_post.identity.mailer.deliver_due() == 0


async def test_what_was_sent_is_not_kept(club_with_post: Club) -> None:
    await club_with_post.browser.sign_up()
    await club_with_post.identity.mailer.deliver_due()
    [mail] = await club_with_post.mails()
    assert (mail.letter.text, mail.letter.html) == ("", "")


async def test_a_sign_up_that_fails_sends_no_mail(
    club_with_post: Club, post_office: SmtpServer
) -> None:
    refused = await club_with_post.browser.sign_up(data={"name": "refused"})
    assert refused.status_code == 422
    assert await club_with_post.identity.mailer.deliver_due() == 0
    assert post_office.connections == 0


@pytest.mark.parametrize("verb", ["CONNECT", "EHLO", "MAIL", "RCPT", "DATA", "MESSAGE"])
async def test_a_server_that_is_busy_is_asked_again_later(
    club_with_post: Club, post_office: SmtpServer, verb: str
) -> None:
    post_office.replies = (
        {verb: "451 later", "HELO": "451 later"} if verb == "EHLO" else {verb: "451 later"}
    )
    await club_with_post.browser.sign_up()
    await club_with_post.identity.mailer.deliver_due()
    assert await states(club_with_post) == [("queued", 1)]
    assert await club_with_post.identity.mailer.deliver_due() == 0, "not before it is due"
    post_office.replies.clear()
    await make_due(club_with_post)
    await club_with_post.identity.mailer.deliver_due()
    assert await states(club_with_post) == [("sent", 2)]
    assert len(post_office.letters) == 1


@pytest.mark.parametrize("verb", ["MAIL", "RCPT", "DATA", "MESSAGE"])
async def test_a_server_that_refuses_for_good_parks_the_mail(
    club_with_post: Club, post_office: SmtpServer, verb: str
) -> None:
    post_office.replies = {verb: "550 no such user"}
    await club_with_post.browser.sign_up()
    await club_with_post.identity.mailer.deliver_due()
    assert await states(club_with_post) == [("parked", 1)]
    [mail] = await club_with_post.mails()
    assert "550 no such user" in (mail.last_error or "")
    post_office.replies.clear()
    assert await club_with_post.identity.mailer.deliver_due() == 0


@pytest.mark.parametrize("verb", ["CONNECT", "RCPT", "MESSAGE"])
async def test_a_server_that_hangs_holds_nobody_up_for_ever(
    system: System, post_office: SmtpServer, verb: str
) -> None:
    club = open_club(system)
    smtp = Smtp("127.0.0.1", post_office.port, starttls=False)
    impatient = Mailer(club.identity.users, SmtpCarrier(smtp, step_timeout_s=0.2))
    post_office.hangs_at = verb
    await club.browser.sign_up()
    await impatient.deliver_due()
    assert await states(club) == [("queued", 1)]


async def test_the_whole_conversation_is_bounded_too(
    system: System, post_office: SmtpServer
) -> None:
    club = open_club(system)
    smtp = Smtp("127.0.0.1", post_office.port, starttls=False)
    impatient = Mailer(club.identity.users, SmtpCarrier(smtp, total_timeout_s=0.2))
    post_office.hangs_at = "RCPT"
    await club.browser.sign_up()
    await impatient.deliver_due()
    assert await states(club) == [("queued", 1)]


@pytest.mark.parametrize("verb", ["CONNECT", "MAIL", "DATA", "MESSAGE"])
async def test_a_server_that_breaks_off_is_asked_again_later(
    club_with_post: Club, post_office: SmtpServer, verb: str
) -> None:
    post_office.breaks_at = verb
    await club_with_post.browser.sign_up()
    await club_with_post.identity.mailer.deliver_due()
    assert await states(club_with_post) == [("queued", 1)]


async def test_a_server_that_is_not_there_is_asked_again_later(system: System) -> None:
    async with open_smtp_server() as gone:
        smtp = Smtp("127.0.0.1", gone.port, starttls=False)
    club = open_club(system, settings=Settings(home=system.settings.home, smtp=smtp))
    assert (await club.browser.sign_up()).status_code == 200
    await club.identity.mailer.deliver_due()
    assert await states(club) == [("queued", 1)]


async def test_without_tls_a_mail_is_not_handed_over_where_it_is_wanted(
    system: System, post_office: SmtpServer
) -> None:
    smtp = Smtp("127.0.0.1", post_office.port, starttls=True)
    club = open_club(system, settings=Settings(home=system.settings.home, smtp=smtp))
    await club.browser.sign_up()
    await club.identity.mailer.deliver_due()
    assert await states(club) == [("queued", 1)]
    assert post_office.received == []


async def test_after_many_attempts_a_mail_is_given_up(
    club_with_post: Club, post_office: SmtpServer
) -> None:
    post_office.replies = {"RCPT": "451 later"}
    await club_with_post.browser.sign_up()
    for _ in range(ATTEMPTS_MAX):
        await make_due(club_with_post)
        await club_with_post.identity.mailer.deliver_due()
    assert await states(club_with_post) == [("parked", ATTEMPTS_MAX)]


async def test_one_refused_mail_does_not_hold_up_the_others(
    club_with_post: Club, post_office: SmtpServer
) -> None:
    post_office.refused = "ada@example.com"
    for name in ("ada", "bob", "eve"):
        await club_with_post.browser.sign_up(f"{name}@example.com")
    await club_with_post.identity.mailer.deliver_due()
    delivered = sorted(letter["To"] for letter in post_office.letters)
    assert delivered == ["bob@example.com", "eve@example.com"]
    assert await states(club_with_post) == [("parked", 1), ("sent", 1), ("sent", 1)]


async def test_a_worker_that_dies_leaves_the_mail_to_the_next(
    club_with_post: Club, post_office: SmtpServer
) -> None:
    await club_with_post.browser.sign_up()
    with crash_at(CARRIED):
        await club_with_post.identity.mailer.deliver_due()
    assert await states(club_with_post) == [("queued", 1)]
    assert await club_with_post.identity.mailer.deliver_due() == 0, "the lease still runs"
    await make_due(club_with_post)
    await club_with_post.identity.mailer.deliver_due()
    assert await states(club_with_post) == [("sent", 2)]
    first, second = post_office.letters
    assert first["Message-ID"] == second["Message-ID"]


async def test_a_worker_that_is_stopped_leaves_the_mail_to_the_next_at_once(
    club_with_post: Club,
) -> None:
    mailer = club_with_post.identity.mailer
    await club_with_post.browser.sign_up()
    async with stalled(CARRIED, mailer.deliver_due()) as stopped:
        stopped.cancel()
    assert await mailer.deliver_due() == 1
    assert await states(club_with_post) == [("sent", 2)]


async def test_many_workers_hand_each_mail_over_once(
    club_with_post: Club, post_office: SmtpServer
) -> None:
    for number in range(12):
        await club_with_post.browser.sign_up(f"{number}@example.com")
    counts = await together(6, lambda _: club_with_post.identity.mailer.deliver_due())
    assert sum(counts) == 12
    assert len({letter["To"] for letter in post_office.letters}) == 12
    assert len(post_office.letters) == 12


async def test_a_worker_that_comes_too_late_changes_nothing(club: Club) -> None:
    await club.browser.sign_up()
    async with club.identity.users.transaction(SERVICE) as tx:
        [late] = await claim_mail(tx, 1, 60.0)
    await make_due(club)
    async with club.identity.users.transaction(SERVICE) as tx:
        [prompt] = await claim_mail(tx, 1, 60.0)
        await mark_sent(tx, late, forget=True)
        await park_mail(tx, late, "too late")
    assert await states(club) == [("queued", 2)]
    async with club.identity.users.transaction(SERVICE) as tx:
        await mark_sent(tx, prompt, forget=True)
    assert await states(club) == [("sent", 2)]


async def test_the_worker_wakes_for_mail_of_its_own_process(
    club_with_post: Club, post_office: SmtpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "POLL_S", 3600.0)
    worker = asyncio.create_task(deliver_mail(club_with_post.identity))
    try:
        await club_with_post.browser.sign_up()
        async with asyncio.timeout(30):
            await post_office.arrived.wait()
    finally:
        worker.cancel()
        await asyncio.wait([worker])


async def test_without_a_mail_server_mail_stays_readable(club: Club) -> None:
    await club.browser.sign_up()
    await club.identity.mailer.deliver_due()
    assert await states(club) == [("sent", 1)]
    assert await club.latest_code()


async def test_the_inbox_shows_mail_as_a_page_and_as_json(system: System) -> None:
    club = open_club(system)
    await club.browser.sign_up()
    await club.browser.sign_up("bob@example.com")
    page = await club.browser.http.get("/club/inbox")
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert page.text.index("bob@example.com") < page.text.index("ada@example.com")
    _, link = await club.latest_code()
    assert f'href="{link.replace("&", "&amp;")}"' in page.text
    for remote in ("src=", "<link", "<script", "@import", "url("):
        assert remote not in page.text
    answer = await club.browser.http.get(
        "/club/inbox?to=ADA@example.com", headers={"accept": "application/json"}
    )
    [mail] = answer.json()["mails"]
    assert mail["to"] == "ada@example.com"
    assert set(mail) == {"id", "channel", "to", "subject", "text", "html", "state", "created_at"}


async def test_the_inbox_escapes_what_it_shows(club: Club) -> None:
    await club.browser.sign_up()
    evil = "<script>alert(1)</script>"
    await club.rows(
        "update private.mail_queue set subject = $1, text_body = $1 || ' http://x/\"' || $1", evil
    )
    page = await club.browser.http.get("/club/inbox")
    assert "<script" not in page.text
    assert "&lt;script&gt;" in page.text


@pytest.mark.parametrize(
    ("peer", "headers"),
    [
        ("192.0.2.1", {}),
        ("127.0.0.1", {"x-forwarded-for": "192.0.2.1"}),
        ("127.0.0.1", {"forwarded": "for=192.0.2.1"}),
        ("127.0.0.1", {"host": "evil.example"}),
        ("127.0.0.1", {"host": "evil.example:8000"}),
    ],
)
async def test_the_inbox_is_for_this_machine_only(
    system: System, peer: str, headers: dict[str, str]
) -> None:
    club = open_club(system, peer=peer)
    answer = await club.browser.http.get("/club/inbox", headers=headers)
    assert answer.status_code == 403
    opened = open_club(system, peer=peer, identity_settings=replace(QUICK, open_inbox=True))
    assert (await opened.browser.http.get("/club/inbox", headers=headers)).status_code == 200


@pytest.mark.parametrize("host", ["localhost:8000", "127.0.0.1", "[::1]:8000", "club.localhost"])
async def test_the_inbox_knows_the_names_of_this_machine(club: Club, host: str) -> None:
    answer = await club.browser.http.get("/club/inbox", headers={"host": host})
    assert answer.status_code == 200


async def test_with_a_mail_server_there_is_no_inbox(club_with_post: Club) -> None:
    assert (await club_with_post.browser.http.get("/club/inbox")).status_code == 404
