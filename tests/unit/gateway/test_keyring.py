import json
import stat
from pathlib import Path

import pytest

from bulkhead.engine.connections.claims import Role
from bulkhead.engine.settings import Settings
from bulkhead.gateway.keyring import RELOAD_S, ApiKeyRing, ApiKeysInvalid, open_keyring
from bulkhead.gateway.keys import KeyKind, KeyNotRevocable


@pytest.fixture
def home(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home")


def later(ring: ApiKeyRing) -> ApiKeyRing:
    """The same process, once it looks again."""
    ring._fresh_until_s -= RELOAD_S
    return ring


def secret_of(ring: ApiKeyRing, database: str = "orders") -> str:
    return ring.keys(database).current(KeyKind.SECRET, Role.SERVICE)


def test_keys_are_there_without_any_file_and_the_same_in_every_process(home: Settings) -> None:
    ring = open_keyring("commerce", home)
    assert secret_of(ring) == secret_of(open_keyring("commerce", home))
    assert ring.keys("orders") is ring.keys("orders")
    assert not ring.path.exists()


def test_another_process_sees_a_rotation_and_keeps_the_keys_of_other_databases(
    home: Settings,
) -> None:
    server, command = open_keyring("commerce", home), open_keyring("commerce", home)
    before, products = server.keys("orders"), server.keys("products")
    command.rotate("orders", KeyKind.SECRET)
    assert server.keys("orders") is before
    after = later(server).keys("orders")
    assert secret_of(server) == secret_of(command)
    assert secret_of(server).encode() not in before.claims
    assert before.current(KeyKind.SECRET, Role.SERVICE).encode() in after.claims
    assert server.keys("products") is products


def test_another_process_sees_a_revocation(home: Settings) -> None:
    server, command = open_keyring("commerce", home), open_keyring("commerce", home)
    former = secret_of(server).encode()
    command.rotate("orders", KeyKind.SECRET)
    command.revoke("orders", KeyKind.SECRET, 0)
    assert former not in later(server).keys("orders").claims
    assert former not in command.keys("orders").claims


def test_rotations_of_two_processes_are_both_kept(home: Settings) -> None:
    one, other = open_keyring("commerce", home), open_keyring("commerce", home)
    secret_of(one), secret_of(other)
    one.rotate("orders", KeyKind.SECRET)
    other.rotate("products", KeyKind.SECRET)
    other.rotate("orders", KeyKind.SECRET)
    assert secret_of(later(one)) == secret_of(other)
    assert [key.number for key in one.keys("orders").keys if key.kind is KeyKind.SECRET] == [
        2,
        1,
        0,
    ]


@pytest.mark.parametrize("number", [0, 1, -1])
def test_a_key_in_use_and_one_that_is_not_there_cannot_be_revoked(
    home: Settings, number: int
) -> None:
    ring = open_keyring("commerce", home)
    with pytest.raises(KeyNotRevocable):
        ring.revoke("orders", KeyKind.SECRET, number)


def test_the_file_is_for_its_owner_alone_and_holds_no_key(home: Settings) -> None:
    ring = open_keyring("commerce", home)
    ring.rotate("orders", KeyKind.SECRET)
    assert stat.S_IMODE(ring.path.stat().st_mode) == 0o600
    assert json.loads(ring.path.read_text())["databases"] == {
        "orders": {"secret": {"current": 1, "previous": [0]}}
    }


def test_a_file_that_is_gone_does_not_bring_revoked_keys_back(home: Settings) -> None:
    ring = open_keyring("commerce", home)
    ring.rotate("orders", KeyKind.SECRET)
    ring.path.unlink()
    with pytest.raises(ApiKeysInvalid):
        later(ring).keys("orders")
    with pytest.raises(ApiKeysInvalid):
        ring.rotate("orders", KeyKind.SECRET)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"databases": []}',
        '{"databases": {"orders": {"secret": {"current": "1", "previous": []}}}}',
        '{"databases": {"orders": {"secret": {"current": true, "previous": []}}}}',
        '{"databases": {"orders": {"other": {"current": 1, "previous": []}}}}',
    ],
)
def test_a_file_that_says_something_else_is_refused(home: Settings, text: str) -> None:
    ring = open_keyring("commerce", home)
    ring.path.parent.mkdir(parents=True)
    ring.path.write_text(text)
    with pytest.raises(ApiKeysInvalid):
        ring.keys("orders")
