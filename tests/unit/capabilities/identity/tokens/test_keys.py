import datetime as dt
import json
import multiprocessing
import stat
from pathlib import Path

import pytest

from bulkhead.capabilities.identity.errors import KeyNotRevocable, KeysInvalid
from bulkhead.capabilities.identity.tokens.keyring import KeyRing, load_keys
from bulkhead.capabilities.identity.tokens.keys import (
    KeySet,
    KeyState,
    create_key,
    create_key_set,
    parse_key,
)

AT = dt.datetime(2026, 11, 2, 12, tzinfo=dt.UTC)


def states(keys: KeySet) -> list[str]:
    return [key.state.value for key in keys.keys]


def rotate(path: Path) -> None:
    KeyRing(path).rotate()


def test_a_key_lives_through_standby_current_previous_and_revoked() -> None:
    keys = create_key_set(AT)
    first, second = keys.keys
    assert states(keys) == ["current", "standby"]
    keys = keys.rotated(create_key(KeyState.STANDBY, AT))
    assert states(keys) == ["previous", "current", "standby"]
    assert keys.current.kid == second.kid
    keys = keys.revoked(first.kid)
    assert states(keys) == ["revoked", "current", "standby"]
    assert keys.find(first.kid) is None
    keys = keys.rotated(create_key(KeyState.STANDBY, AT))
    assert states(keys) == ["revoked", "previous", "current", "standby"]


@pytest.mark.parametrize("position", [0, 1])
def test_a_key_that_is_or_will_be_in_use_cannot_be_revoked(position: int) -> None:
    keys = create_key_set(AT)
    with pytest.raises(KeyNotRevocable):
        keys.revoked(keys.keys[position].kid)


def test_an_unknown_key_cannot_be_revoked() -> None:
    with pytest.raises(KeyNotRevocable):
        create_key_set(AT).revoked("unknown")


def test_a_key_set_has_one_current_key() -> None:
    key = create_key(KeyState.CURRENT, AT)
    for keys in ((), (key, key), (key, create_key(KeyState.CURRENT, AT))):
        with pytest.raises(ValueError, match="exactly one"):
            KeySet(keys)


def test_what_is_published_holds_no_secret_and_no_revoked_key() -> None:
    keys = create_key_set(AT)
    revoked = keys.current.kid
    keys = keys.rotated(create_key(KeyState.STANDBY, AT)).revoked(revoked)
    published = keys.to_jwks()["keys"]
    assert [key["kid"] for key in published] == [key.kid for key in keys.keys[1:]]
    for key in published:
        assert set(key) == {"kty", "crv", "x", "y", "kid", "alg", "use", "key_ops", "ext"}
        assert (key["kty"], key["crv"], key["alg"]) == ("EC", "P-256", "ES256")
        assert len(key["x"]) == len(key["y"]) == 43


def test_a_key_survives_its_file() -> None:
    key = create_key(KeyState.STANDBY, AT)
    read = parse_key(json.loads(json.dumps(key.to_json())))
    assert (read.kid, read.state, read.created_at) == (key.kid, key.state, key.created_at)
    assert read.to_jwk() == key.to_jwk()


def test_a_key_does_not_show_its_secret() -> None:
    keys = create_key_set(AT)
    assert "PRIVATE" not in repr(keys)
    assert "_EllipticCurve" not in repr(keys)


def test_the_file_is_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "home" / "keys" / "commerce.json"
    assert states(KeyRing(path).keys) == ["current", "standby"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_the_next_process_finds_the_keys(tmp_path: Path) -> None:
    path = tmp_path / "commerce.json"
    first = KeyRing(path)
    kid = first.keys.current.kid
    assert KeyRing(path).keys.current.kid == kid
    first.rotate()
    assert KeyRing(path).keys.find(kid) is not None
    assert KeyRing(path).keys.current.kid != kid


def test_the_same_keys_are_the_same_object(tmp_path: Path) -> None:
    ring = KeyRing(tmp_path / "commerce.json")
    assert ring.keys is ring.keys


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        '{"keys": []}',
        '{"keys": [7]}',
        '{"keys": [{"kid": "x", "state": "current", "private_key": "x", "created_at": "x"}]}',
    ],
)
def test_a_damaged_file_is_not_replaced(tmp_path: Path, text: str) -> None:
    path = tmp_path / "commerce.json"
    path.write_text(text)
    with pytest.raises(KeysInvalid):
        _ = KeyRing(path).keys
    assert path.read_text() == text


def test_a_key_under_another_name_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "commerce.json"
    _ = KeyRing(path).keys
    document = json.loads(path.read_text())
    document["keys"][0]["kid"] = document["keys"][1]["kid"] + "x"
    path.write_text(json.dumps(document))
    with pytest.raises(KeysInvalid) as caught:
        load_keys(path)
    assert "PRIVATE" not in str(caught.value)


def test_a_file_that_vanishes_is_not_replaced_by_other_keys(tmp_path: Path) -> None:
    path = tmp_path / "commerce.json"
    ring = KeyRing(path)
    _ = ring.keys
    path.unlink()
    with pytest.raises(KeysInvalid):
        ring.rotate()
    assert not path.exists()


def test_processes_that_rotate_at_once_lose_no_key(tmp_path: Path) -> None:
    path = tmp_path / "commerce.json"
    _ = KeyRing(path).keys
    spawn = multiprocessing.get_context("fork")
    workers = [spawn.Process(target=rotate, args=(path,)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(30)
    assert [worker.exitcode for worker in workers] == [0] * 4
    assert states(load_keys(path)) == ["previous"] * 4 + ["current", "standby"]
    assert [each.name for each in tmp_path.iterdir() if ".json." in each.name] == [
        ".commerce.json.lock"
    ]


def test_no_id_looks_like_an_option_of_a_command() -> None:
    made = (create_key(KeyState.STANDBY, AT) for _ in range(300))
    assert not [key.kid for key in made if key.kid.startswith("-")]
