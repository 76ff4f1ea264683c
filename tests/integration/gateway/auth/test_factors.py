"""Second factors over HTTP: what they open, and every way they are refused."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from tests.integration.capabilities.identity.club import QUICK, Club, open_club
from tests.integration.gateway.auth.office import (
    Authenticator,
    challenge,
    claims_of,
    enroll,
    prove,
    refusal,
    verify,
)

from bulkhead.capabilities.identity import tidy
from bulkhead.engine.clock import now, stopped
from bulkhead.engine.ids import new_id
from bulkhead.engine.system import System


async def test_a_stranger_adds_no_factor(club: Club) -> None:
    for method, path in (
        ("POST", "/factors"),
        ("POST", f"/factors/{new_id()}/challenge"),
        ("POST", f"/factors/{new_id()}/verify"),
        ("DELETE", f"/factors/{new_id()}"),
    ):
        answer = await club.browser.send(method, path, {"factor_type": "totp"})
        assert refusal(answer) == (401, "no_authorization")


async def test_the_factor_of_another_user_is_not_found(club: Club) -> None:
    ada, bob = await club.member(), await club.member("bob@example.com")
    factor = await enroll(club, ada["access_token"])
    for method, path in (("POST", "/challenge"), ("POST", "/verify"), ("DELETE", "")):
        answer = await club.browser.send(
            method,
            f"/factors/{factor.id}{path}",
            {"code": factor.code(), "challenge_id": str(new_id())},
            token=bob["access_token"],
        )
        assert refusal(answer) == (404, "mfa_factor_not_found")
        assert answer.json()["msg"] == "Factor not found"


async def test_an_authenticator_is_told_what_it_needs(club: Club) -> None:
    member = await club.member()
    answer = await club.browser.send(
        "POST",
        "/factors",
        {"factor_type": "totp", "friendly_name": "Phone", "issuer": "The Club"},
        token=member["access_token"],
    )
    body = answer.json()
    assert (body["type"], body["friendly_name"]) == ("totp", "Phone")
    assert set(body["totp"]) == {"qr_code", "secret", "uri"}
    assert body["totp"]["qr_code"].startswith("<svg ")
    assert body["totp"]["uri"] == (
        "otpauth://totp/The%20Club:ada@example.com?algorithm=SHA1&digits=6&"
        f"issuer=The%20Club&period=30&secret={body['totp']['secret']}"
    )


async def test_a_verified_factor_makes_a_session_of_two_proofs(club: Club) -> None:
    member = await club.member()
    before = claims_of(member["access_token"])
    assert (before["aal"], [each["method"] for each in before["amr"]]) == ("aal1", ["otp"])
    factor = await enroll(club, member["access_token"], friendly_name="Phone")
    tokens = await prove(club, member["access_token"], factor)
    after = claims_of(tokens["access_token"])
    assert after["aal"] == "aal2"
    assert [each["method"] for each in after["amr"]] == ["totp", "otp"]
    assert after["session_id"] == before["session_id"]
    assert [each["status"] for each in tokens["user"]["factors"]] == ["verified"]
    assert tokens["user"]["factors"][0]["friendly_name"] == "Phone"
    refreshed = (await club.browser.refresh(tokens["refresh_token"])).json()
    assert claims_of(refreshed["access_token"])["aal"] == "aal2"
    assert [each["method"] for each in claims_of(refreshed["access_token"])["amr"]] == [
        "totp",
        "otp",
    ]
    row = (await club.rows("select aal, factor_id from auth.sessions"))[0]
    assert (row["aal"], str(row["factor_id"])) == ("aal2", factor.id)


async def test_the_refresh_token_from_before_does_not_come_by_the_second_proof(
    club: Club,
) -> None:
    member = await club.member()
    factor = await enroll(club, member["access_token"])
    tokens = await prove(club, member["access_token"], factor)
    answer = await club.browser.refresh(member["refresh_token"])
    assert refusal(answer) == (400, "refresh_token_not_found")
    assert (await club.browser.refresh(tokens["refresh_token"])).status_code == 200


async def test_sessions_of_one_proof_end_with_the_second(club: Club) -> None:
    member = await club.member()
    other = (await club.browser.sign_in()).json()
    factor = await enroll(club, member["access_token"])
    await prove(club, member["access_token"], factor)
    assert (await club.browser.user(other["access_token"])).status_code == 403
    later = (await club.browser.sign_in()).json()
    assert claims_of(later["access_token"])["aal"] == "aal1"
    assert (await club.browser.user(later["access_token"])).status_code == 200


async def test_a_code_counts_once(club: Club) -> None:
    member = await club.member()
    factor = await enroll(club, member["access_token"])
    code = factor.code()
    asked = await challenge(club, member["access_token"], factor.id)
    tokens = (await verify(club, member["access_token"], factor.id, asked, code)).json()
    again = await challenge(club, tokens["access_token"], factor.id)
    answer = await verify(club, tokens["access_token"], factor.id, again, code)
    assert refusal(answer) == (422, "mfa_verification_failed")
    assert answer.json()["msg"] == "Invalid TOTP code entered"
    answer = await verify(club, tokens["access_token"], factor.id, again, factor.code(1))
    assert answer.status_code == 200


@pytest.mark.parametrize("periods", [-1, 0, 1])
async def test_a_clock_may_be_a_little_off(club: Club, periods: int) -> None:
    member = await club.member()
    factor = await enroll(club, member["access_token"])
    with stopped(now()):  # Else a period may end between the code and the look at it.
        await prove(club, member["access_token"], factor, periods)


async def test_a_wrong_code_is_counted_and_a_challenge_takes_few(club: Club) -> None:
    member = await club.member()
    token = member["access_token"]
    factor = await enroll(club, token)
    asked = await challenge(club, token, factor.id)
    for _ in range(QUICK.code_attempts):
        answer = await verify(club, token, factor.id, asked, factor.wrong_code())
        assert refusal(answer) == (422, "mfa_verification_failed")
    answer = await verify(club, token, factor.id, asked, factor.code())
    assert refusal(answer) == (422, "mfa_challenge_expired")
    assert answer.json()["msg"] == (
        f"MFA challenge {asked} has expired, verify against another challenge or create a new "
        "challenge."
    )


async def test_a_challenge_is_answered_once_in_time_and_from_where_it_was_asked(
    system: System, club: Club
) -> None:
    member = await club.member()
    token = member["access_token"]
    factor = await enroll(club, token)
    asked = await challenge(club, token, factor.id)
    elsewhere = open_club(system, peer="203.0.113.7")
    answer = await verify(elsewhere, token, factor.id, asked, factor.code())
    assert refusal(answer) == (422, "mfa_ip_address_mismatch")
    await club.value("update auth.mfa_challenges set created_at = now() - interval '301 s'")
    answer = await verify(club, token, factor.id, asked, factor.code())
    assert refusal(answer) == (422, "mfa_challenge_expired")
    answer = await verify(club, token, factor.id, str(new_id()), factor.code())
    assert refusal(answer) == (422, "mfa_factor_not_found")
    tokens = await prove(club, token, factor)
    used = str(await club.value("select id from auth.mfa_challenges where verified_at <= now()"))
    answer = await verify(club, tokens["access_token"], factor.id, used, factor.code(1))
    assert refusal(answer) == (422, "mfa_ip_address_mismatch")


async def test_guesses_of_codes_are_limited_for_each_user(system: System, club: Club) -> None:
    member = await club.member()
    factor = await enroll(club, member["access_token"])
    strict = open_club(system, identity_settings=type(QUICK)(password_cost=4))
    codes = []
    for _ in range(4):
        asked = await challenge(strict, member["access_token"], factor.id)
        for _ in range(4):
            answer = await verify(
                strict, member["access_token"], factor.id, asked, factor.wrong_code()
            )
            codes.append(refusal(answer))
    assert codes[:10] == [(422, "mfa_verification_failed")] * 10
    assert codes[10:] == [(429, "over_request_rate_limit")] * 6


async def test_factors_are_named_apart_and_few(club: Club) -> None:
    member = await club.member()
    await enroll(club, member["access_token"], friendly_name="One")
    body = {"factor_type": "totp", "friendly_name": "One"}
    answer = await club.browser.send("POST", "/factors", body, token=member["access_token"])
    assert refusal(answer) == (422, "mfa_factor_name_conflict")
    assert answer.json()["msg"] == (
        'A factor with the friendly name "One" for this user already exists'
    )
    for number in range(9):
        await enroll(club, member["access_token"], friendly_name=f"Another {number}")
    body["friendly_name"] = "One too many"
    answer = await club.browser.send("POST", "/factors", body, token=member["access_token"])
    assert refusal(answer) == (422, "too_many_enrolled_mfa_factors")


async def test_whoever_has_a_factor_verifies_it_before_adding_another(club: Club) -> None:
    member = await club.member()
    factor = await enroll(club, member["access_token"])
    tokens = await prove(club, member["access_token"], factor)
    weak = (await club.browser.sign_in()).json()
    body = {"factor_type": "totp", "friendly_name": "Another"}
    answer = await club.browser.send("POST", "/factors", body, token=weak["access_token"])
    assert refusal(answer) == (403, "insufficient_aal")
    await enroll(club, tokens["access_token"], friendly_name="Another")


async def test_factors_nobody_verified_are_forgotten(club: Club) -> None:
    member = await club.member()
    token = member["access_token"]
    await enroll(club, token, friendly_name="Begun")
    await club.value("update auth.mfa_factors set created_at = now() - interval '301 s'")
    factor = await enroll(club, token, friendly_name="Begun")
    await enroll(club, token, friendly_name="Beside")
    tokens = await prove(club, token, factor)
    assert [each["id"] for each in tokens["user"]["factors"]] == [factor.id]
    await enroll(club, tokens["access_token"], friendly_name="Late")
    await club.value("update auth.mfa_factors set created_at = now() - interval '301 s'")
    await tidy(club.identity)
    user = (await club.browser.user(tokens["access_token"])).json()
    assert [each["id"] for each in user["factors"]] == [factor.id]


async def test_removing_a_verified_factor_needs_it(club: Club) -> None:
    member = await club.member()
    factor = await enroll(club, member["access_token"])
    tokens = await prove(club, member["access_token"], factor)
    weak = (await club.browser.sign_in()).json()
    path = f"/factors/{factor.id}"
    answer = await club.browser.send("DELETE", path, token=weak["access_token"])
    assert refusal(answer) == (422, "insufficient_aal")
    answer = await club.browser.send("DELETE", path, token=tokens["access_token"])
    assert (answer.status_code, answer.json()) == (200, {"id": factor.id})
    refreshed = (await club.browser.refresh(tokens["refresh_token"])).json()
    assert claims_of(refreshed["access_token"])["aal"] == "aal1"
    assert [each["method"] for each in claims_of(refreshed["access_token"])["amr"]] == ["otp"]
    assert "factors" not in refreshed["user"]


async def test_an_unverified_factor_is_removed_without_ado(club: Club) -> None:
    member = await club.member()
    factor = await enroll(club, member["access_token"])
    answer = await club.browser.send(
        "DELETE", f"/factors/{factor.id}", token=member["access_token"]
    )
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "change", [{"password": "another horse"}, {"email": "new@example.com"}, {"phone": "4915112345"}]
)
async def test_what_opens_an_account_changes_with_the_second_proof_only(
    club: Club, change: dict[str, str]
) -> None:
    member = await club.member()
    factor = await enroll(club, member["access_token"])
    tokens = await prove(club, member["access_token"], factor)
    weak = (await club.browser.sign_in()).json()
    answer = await club.browser.send("PUT", "/user", change, token=weak["access_token"])
    assert refusal(answer) == (401, "insufficient_aal")
    answer = await club.browser.send("PUT", "/user", {"data": {"a": 1}}, token=weak["access_token"])
    assert answer.status_code == 200
    if "phone" not in change:
        answer = await club.browser.send("PUT", "/user", change, token=tokens["access_token"])
        assert answer.status_code == 200


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"factor_type": "phone", "phone": "4915112345"}, (422, "mfa_phone_enroll_not_enabled")),
        ({"factor_type": "webauthn"}, (422, "mfa_webauthn_enroll_not_enabled")),
        ({"factor_type": "card"}, (400, "validation_failed")),
        ({}, (400, "validation_failed")),
        ({"factor_type": "totp", "friendly_name": "x" * 201}, (400, "validation_failed")),
        ({"factor_type": 7}, (400, "bad_json")),
    ],
)
async def test_other_factors_are_refused(
    club: Club, body: dict[str, object], expected: tuple[int, str]
) -> None:
    member = await club.member()
    answer = await club.browser.send("POST", "/factors", body, token=member["access_token"])
    assert refusal(answer) == expected


async def test_a_factor_that_came_from_elsewhere_is_not_challenged(club: Club) -> None:
    member = await club.member()
    factor = new_id()
    await club.value(
        "insert into auth.mfa_factors (id, user_id, factor_type, status, phone) "
        "values ($1, $2::text::uuid, 'phone', 'verified', '4915112345')",
        factor,
        member["user"]["id"],
    )
    path = f"/factors/{factor}/challenge"
    answer = await club.browser.send("POST", path, {}, token=member["access_token"])
    assert refusal(answer) == (422, "mfa_phone_verify_not_enabled")


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        ("/factors/7/challenge", {}, (404, "validation_failed")),
        ("/factors/{id}/verify", {"code": "123456"}, (400, "bad_json")),
        ("/factors/{id}/verify", {"challenge_id": str(new_id())}, (400, "validation_failed")),
        ("/factors/{id}/verify", {"code": 7, "challenge_id": "x"}, (400, "bad_json")),
    ],
)
async def test_what_is_malformed_is_refused(
    club: Club, path: str, body: dict[str, object], expected: tuple[int, str]
) -> None:
    member = await club.member()
    path = path.format(id=new_id())
    answer = await club.browser.send("POST", path, body, token=member["access_token"])
    assert refusal(answer) == expected


async def test_an_ended_session_verifies_nothing(club: Club) -> None:
    member = await club.member()
    factor = await enroll(club, member["access_token"])
    asked = await challenge(club, member["access_token"], factor.id)
    await club.browser.send("POST", "/logout", token=member["access_token"])
    answer = await verify(club, member["access_token"], factor.id, asked, factor.code())
    assert refusal(answer) == (403, "session_not_found")


async def test_whoever_has_no_address_adds_no_factor(system: System) -> None:
    club = open_club(system, identity_settings=replace(QUICK, anonymous_enabled=True))
    token = (await club.browser.send("POST", "/signup", {})).json()["access_token"]
    answer = await club.browser.send("POST", "/factors", {"factor_type": "totp"}, token=token)
    assert refusal(answer) == (403, "no_authorization")
    assert answer.json()["msg"] == "Anonymous user not allowed to perform these actions"


async def test_an_application_may_do_without_authenticators(system: System, club: Club) -> None:
    member = await club.member()
    factor = await enroll(club, member["access_token"])
    without = open_club(system, identity_settings=replace(QUICK, totp_enabled=False))
    for path, code in (
        ("/factors", "mfa_totp_enroll_not_enabled"),
        (f"/factors/{factor.id}/challenge", "mfa_totp_verify_not_enabled"),
    ):
        answer = await without.browser.send(
            "POST", path, {"factor_type": "totp"}, token=member["access_token"]
        )
        assert refusal(answer) == (422, code)


async def test_the_log_says_what_was_done(club: Club) -> None:
    member = await club.member()
    factor = await enroll(club, member["access_token"])
    tokens = await prove(club, member["access_token"], factor)
    path = f"/factors/{factor.id}"
    await club.browser.send("DELETE", path, token=tokens["access_token"])
    rows = await club.rows(
        "select payload ->> 'action' as action, payload ->> 'log_type' as log_type "
        "from auth.audit_log_entries order by created_at desc, id desc limit 4"
    )
    assert [row["action"] for row in rows] == [
        "factor_unenrolled",
        "verification_attempted",
        "challenge_created",
        "factor_in_progress",
    ]
    assert {row["log_type"] for row in rows} == {"factor"}


def test_the_wrong_code_is_six_digits() -> None:
    assert re.fullmatch("[0-9]{6}", Authenticator("", "JBSWY3DPEHPK3PXP").wrong_code())
