"""Invitations, and links that the application sends itself."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from tests.integration.capabilities.identity.club import BASE, PASSWORD, fragment, together
from tests.integration.gateway.auth.office import Office, refusal

ADA, NEW = "ada@example.com", "countess@example.com"


async def generate(office: Office, **wanted: object) -> dict[str, Any]:
    answer = await office.send("POST", "/admin/generate_link", wanted)
    assert answer.status_code == 200, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def follow(office: Office, link: str) -> dict[str, str]:
    """What the page is handed that a link leads to."""
    parts = urlsplit(link)
    answer = await office.club.browser.http.get(f"{parts.path}?{parts.query}")
    assert answer.status_code == 303, answer.text
    return fragment(answer.headers["location"])


async def test_whoever_is_invited_becomes_a_user(office: Office) -> None:
    body = {"email": ADA, "data": {"team": "engines"}}
    answer = await office.send("POST", f"/invite?redirect_to={BASE}/welcome", body)
    assert answer.status_code == 200, answer.text
    user = answer.json()
    assert user["invited_at"]
    assert user["confirmation_sent_at"]
    assert "email_confirmed_at" not in user
    assert user["user_metadata"]["team"] == "engines"
    _, link = await office.club.latest_code()
    query = parse_qs(urlsplit(link).query)
    assert (query["type"], query["redirect_to"]) == (["invite"], [f"{BASE}/welcome"])
    values = await follow(office, link)
    assert values["type"] == "invite"
    found = (await office.club.browser.user(values["access_token"])).json()
    assert (found["id"], bool(found["email_confirmed_at"])) == (user["id"], True)
    assert refusal(await office.send("POST", "/invite", body)) == (422, "email_exists")


async def test_an_invitation_is_repeated_until_it_is_accepted(office: Office) -> None:
    first = (await office.send("POST", "/invite", {"email": ADA})).json()
    _, stale = await office.club.latest_code()
    second = (await office.send("POST", "/invite", {"email": ADA})).json()
    digits, _ = await office.club.latest_code()
    assert first["id"] == second["id"]
    assert (await follow(office, stale))["error_code"] == "otp_expired"
    body = {"type": "invite", "email": ADA, "token": digits}
    assert (await office.club.browser.send("POST", "/verify", body)).status_code == 200


@pytest.mark.parametrize("body", [{}, {"email": "nobody"}, {"email": 7}, {"email": ADA, "data": 7}])
async def test_nobody_is_invited_without_an_address(
    office: Office, body: dict[str, object]
) -> None:
    answer = await office.send("POST", "/invite", body)
    assert answer.status_code == 400
    assert await office.club.mails() == []


async def test_a_link_to_sign_up_makes_the_user(office: Office) -> None:
    made = await generate(
        office, type="signup", email="Ada@example.com", password=PASSWORD, data={"a": 1}
    )
    assert {"id", "email", "identities"} <= set(made)
    assert made["email"] == ADA
    assert made["verification_type"] == "signup"
    assert made["redirect_to"] == BASE
    assert made["action_link"].startswith(f"{BASE}/club/auth/v1/verify?")
    assert parse_qs(urlsplit(made["action_link"]).query)["token"] == [made["hashed_token"]]
    assert await office.club.mails() == []
    again = await generate(office, type="signup", email=ADA, password=PASSWORD, data={"b": 2})
    assert again["id"] == made["id"]
    assert again["user_metadata"] == {"a": 1, "b": 2}
    assert (await follow(office, made["action_link"]))["error_code"] == "otp_expired"
    assert (await follow(office, again["action_link"]))["access_token"]
    assert (await office.club.browser.sign_in()).status_code == 200
    answer = await office.send(
        "POST", "/admin/generate_link", {"type": "signup", "email": ADA, "password": PASSWORD}
    )
    assert refusal(answer) == (422, "email_exists")


@pytest.mark.parametrize("kind", ["signup", "invite", "magiclink"])
async def test_the_digits_and_the_hash_of_a_link_are_good_for_the_same(
    office: Office, kind: str
) -> None:
    for email, by_hash in ((ADA, False), (NEW, True)):
        made = await generate(office, type=kind, email=email, password=PASSWORD)
        if by_hash:
            body = {"type": made["verification_type"], "token_hash": made["hashed_token"]}
        else:
            body = {"type": "email", "email": email, "token": made["email_otp"]}
        answer = await office.club.browser.send("POST", "/verify", body)
        assert answer.status_code == 200, answer.text
        assert answer.json()["user"]["id"] == made["id"]


async def test_a_magic_link_signs_up_whoever_is_unknown(office: Office) -> None:
    made = await generate(office, type="magiclink", email=ADA)
    assert made["verification_type"] == "signup"
    assert (await follow(office, made["action_link"]))["type"] == "signup"
    made = await generate(office, type="magiclink", email=ADA)
    assert made["verification_type"] == "magiclink"
    assert (await follow(office, made["action_link"]))["type"] == "magiclink"


async def test_a_link_to_recover_is_for_users(office: Office) -> None:
    wanted = {"type": "recovery", "email": ADA}
    answer = await office.send("POST", "/admin/generate_link", wanted)
    assert refusal(answer) == (404, "user_not_found")
    assert answer.json()["msg"] == "User with this email not found"
    await office.club.member()
    made = await generate(office, **wanted, redirect_to=f"{BASE}/reset")
    assert made["recovery_sent_at"]
    assert made["redirect_to"] == f"{BASE}/reset"
    assert (await follow(office, made["action_link"]))["type"] == "recovery"


async def test_a_link_leads_nowhere_that_was_not_named(office: Office) -> None:
    made = await generate(
        office, type="magiclink", email=ADA, redirect_to="https://evil.example/steal"
    )
    assert made["redirect_to"] == BASE


async def test_an_address_is_changed_by_both_links(office: Office) -> None:
    member = await office.club.member()
    wanted = {"email": ADA, "new_email": "Countess@example.com"}
    current = await generate(office, type="email_change_current", **wanted)
    new = await generate(office, type="email_change_new", **wanted)
    assert current["new_email"] == new["new_email"] == NEW
    assert "message" in await follow(office, current["action_link"])
    assert (await follow(office, new["action_link"]))["type"] == "email_change"
    user = (await office.club.browser.user(member["access_token"])).json()
    assert user["email"] == NEW


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"type": "email"}, (400, "validation_failed")),
        ({"type": "signup", "email": ""}, (400, "validation_failed")),
        ({"type": "signup", "email": "b@example.com", "password": "x"}, (422, "weak_password")),
        ({"type": "email_change_new", "new_email": "taken@example.com"}, (422, "email_exists")),
        ({"type": "email_change_new", "new_email": "nobody"}, (400, "validation_failed")),
        ({"type": "email_change_new", "email": "b@example.com"}, (400, "validation_failed")),
        (
            {"type": "email_change_new", "email": "b@example.com", "new_email": NEW},
            (404, "user_not_found"),
        ),
        ({"type": "invite"}, (422, "email_exists")),
        ({"type": 7}, (400, "bad_json")),
    ],
)
async def test_links_that_cannot_be_are_refused(
    office: Office, wanted: dict[str, object], expected: tuple[int, str]
) -> None:
    await office.create(email=ADA, email_confirm=True)
    await office.create(email="taken@example.com")
    answer = await office.send("POST", "/admin/generate_link", {"email": ADA, **wanted})
    assert refusal(answer) == expected


async def test_of_many_links_for_one_address_one_user_is_made_and_the_last_counts(
    office: Office,
) -> None:
    made = await together(6, lambda _: generate(office, type="magiclink", email=ADA))
    assert len({each["id"] for each in made}) == 1
    found = [await follow(office, each["action_link"]) for each in made]
    assert [("access_token" in values) for values in found].count(True) == 1
