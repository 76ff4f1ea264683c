import asyncio
import os
import sys
import threading

import bcrypt
import pytest
from argon2 import PasswordHasher
from argon2.low_level import Type
from hypothesis import given, settings
from hypothesis import strategies as st

from bulkhead.capabilities.identity.errors import (
    PasswordsOverloaded,
    PasswordTooLong,
    PasswordWeak,
)
from bulkhead.capabilities.identity.password_hashes import (
    PasswordHashInvalid,
    is_usable_hash,
    matches,
)
from bulkhead.capabilities.identity.passwords import (
    NICENESS,
    Passwords,
    check_password,
    check_password_hash,
)
from bulkhead.capabilities.identity.settings import IdentitySettings

HASH_END = "c29tZXNhbHQ$" + "A" * 43
SETTINGS = IdentitySettings()
PASSWORDS = Passwords(cost=4)


async def test_a_hash_fits_its_password_only() -> None:
    hashed = await PASSWORDS.hash("correct horse")
    assert await PASSWORDS.verify("correct horse", hashed)
    assert not await PASSWORDS.verify("wrong horse", hashed)
    assert hashed != await PASSWORDS.hash("correct horse"), "each has its own salt"


@settings(max_examples=30)
@given(st.text(max_size=100))
async def test_whatever_is_accepted_fits_and_nothing_is_cut_off(password: str) -> None:
    try:
        check_password(password, IdentitySettings(password_length_min=0))
    except PasswordTooLong:
        assert len(password.encode(errors="surrogatepass")) > 72 or "\0" in password
        return
    hashed = await PASSWORDS.hash(password)
    assert await PASSWORDS.verify(password, hashed)
    assert not await PASSWORDS.verify(password + "x", hashed)


async def test_what_bcrypt_would_cut_off_does_not_match() -> None:
    hashed = bcrypt.hashpw(b"x" * 72, bcrypt.gensalt(4)).decode()
    assert await PASSWORDS.verify("x" * 72, hashed)
    assert not await PASSWORDS.verify("x" * 73, hashed)
    with pytest.raises(PasswordTooLong):
        await PASSWORDS.hash("x" * 73)


@pytest.mark.parametrize("password", ["a\0b", "x" * 73, "é" * 37, "\udcff" * 8])
def test_what_bcrypt_cannot_take_is_refused(password: str) -> None:
    with pytest.raises(PasswordTooLong):
        check_password(password, SETTINGS)


@pytest.mark.parametrize(
    "hashed",
    [
        None,
        "",
        "plain text",
        "$2a$10$tooshort",
        "$2x$04$" + "a" * 53,
        "$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHQ$aGFzaA",
        "$argon2d$v=19$m=64,t=1,p=1$" + HASH_END,
        "$argon2id$v=16$m=64,t=1,p=1$" + HASH_END,
        "$argon2id$v=19$m=64,t=1,p=1,keyid=abc$" + HASH_END,
        "$argon2id$v=19$m=262145,t=1,p=1$" + HASH_END,
        "$argon2id$v=19$m=64,t=21,p=1$" + HASH_END,
        "$argon2id$v=19$m=1024,t=1,p=17$" + HASH_END,
        "$argon2id$v=19$m=64,t=0,p=1$" + HASH_END,
        "$argon2id$v=19$m=7,t=1,p=1$" + HASH_END,
        "$argon2id$v=19$m=64,t=1,p=1$" + HASH_END + "=",
        "$argon2id$v=19$m=64,t=1,p=1$" + HASH_END + "A" * 300,
        "$2a$31$" + "a" * 53,
        "$2a$xx$" + "a" * 53,
        "$2a$04$" + "é" * 53,
        "$2a$04$" + "a" * 53,
        "$2a$04$" + "!" * 53,
        "$2a$03$" + "." * 53,
        "$2a$04$" + "." * 53 + "\n",
    ],
)
async def test_a_hash_that_is_none_matches_nothing(hashed: str | None) -> None:
    assert not is_usable_hash(hashed)
    with pytest.raises(PasswordHashInvalid):
        check_password_hash(hashed or "")
    assert not await PASSWORDS.verify("", hashed)
    assert not await PASSWORDS.verify("plain text", hashed)


async def test_without_a_hash_the_same_work_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    costs: list[bytes] = []
    real = bcrypt.checkpw

    def observe(password: bytes, hashed: bytes) -> bool:
        costs.append(hashed[:7])
        return real(password, hashed)

    monkeypatch.setattr(bcrypt, "checkpw", observe)
    passwords = Passwords(cost=5)
    hashed = await passwords.hash("correct horse")
    for against in (hashed, None, "nonsense"):
        await passwords.verify("wrong horse", against)
    await passwords.verify("x" * 100, hashed)
    assert costs == [b"$2a$05$"] * 4


@pytest.mark.parametrize("prefix", [b"2a", b"2b"])
async def test_every_hash_that_bcrypt_makes_is_taken(prefix: bytes) -> None:
    for _ in range(40):
        hashed = bcrypt.hashpw(b"correct horse", bcrypt.gensalt(4, prefix)).decode()
        check_password_hash(hashed)
        assert await PASSWORDS.verify("correct horse", hashed.replace("$2b$", "$2y$"))


@pytest.mark.parametrize("kind", [Type.I, Type.ID])
@pytest.mark.parametrize("password", ["correct horse", "é" * 200, ""])
async def test_users_bring_hashes_of_argon2_along(kind: Type, password: str) -> None:
    hasher = PasswordHasher(time_cost=1, memory_cost=64, parallelism=2, type=kind)
    hashed = hasher.hash(password)
    check_password_hash(hashed)
    assert await PASSWORDS.verify(password, hashed)
    assert not await PASSWORDS.verify(password + "x", hashed)
    assert not await PASSWORDS.verify("\udcff", hashed)


def test_a_vector_of_argon2() -> None:
    # From the tests of the reference implementation (CC0): m=2**16, t=2, p=1.
    hashed = (
        "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"
    )
    assert is_usable_hash(hashed)
    assert matches("password", hashed)
    assert not matches("differentpassword", hashed)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells threads apart")
async def test_hashing_steps_back_and_the_rest_of_the_process_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[int] = []
    real = bcrypt.hashpw

    def observe(password: bytes, salt: bytes) -> bytes:
        seen.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
        return real(password, salt)

    before = os.getpriority(os.PRIO_PROCESS, 0)
    monkeypatch.setattr(bcrypt, "hashpw", observe)
    await Passwords(cost=4).hash("correct horse")
    assert seen == [max(NICENESS, before)]
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == before


async def test_hashing_leaves_the_event_loop_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[int] = []
    real = bcrypt.hashpw

    def observe(password: bytes, salt: bytes) -> bytes:
        threads.append(threading.get_ident())
        return real(password, salt)

    monkeypatch.setattr(bcrypt, "hashpw", observe)
    await PASSWORDS.hash("correct horse")
    assert threads
    assert threading.get_ident() not in threads


async def test_a_crowd_is_turned_away_instead_of_piling_up() -> None:
    passwords = Passwords(cost=4, parallel=1, waiting_max=3)
    async with asyncio.TaskGroup() as tasks:
        started = [tasks.create_task(attempt(passwords)) for _ in range(10)]
    assert sorted(task.result() for task in started) == [False] * 7 + [True] * 3
    assert await attempt(passwords), "and the next one is served"


async def attempt(passwords: Passwords) -> bool:
    try:
        await passwords.hash("correct horse")
    except PasswordsOverloaded:
        return False
    return True


def test_a_weak_password_is_told_every_reason() -> None:
    strict = IdentitySettings(password_characters=("abc", "0123456789"))
    with pytest.raises(PasswordWeak) as caught:
        check_password("xyz", strict)
    assert caught.value.details["reasons"] == ["length", "characters"]
    check_password("xyzabc0123", strict)
