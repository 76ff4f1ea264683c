from pathlib import Path

import pytest

from bulkhead.engine.drivers.secret import SECRET_BYTES, Secret, SecretUnusable

SECRET = Secret(bytes(range(32)))


def test_a_created_secret_is_private_and_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "secret.key"
    made = Secret.create(path)
    assert Secret.load(path) == made
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["secret.key"]
    assert len(made.value) == SECRET_BYTES


def test_what_a_crash_left_of_a_secret_does_not_stand_in_the_way(tmp_path: Path) -> None:
    (tmp_path / ".secret.key.new").write_bytes(b"half")
    assert Secret.create(tmp_path / "secret.key") == Secret.load(tmp_path / "secret.key")


def test_a_missing_secret_is_none(tmp_path: Path) -> None:
    assert Secret.load(tmp_path / "secret.key") is None


@pytest.mark.parametrize("content", [b"", bytes(31), bytes(33)])
def test_a_damaged_secret_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "secret.key").write_bytes(content)
    with pytest.raises(SecretUnusable, match=f"{len(content)} bytes"):
        Secret.load(tmp_path / "secret.key")


def test_a_short_secret_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 32"):
        Secret(b"short")


def test_passwords_follow_from_the_secret_and_the_role() -> None:
    assert SECRET.password("shop_client") == SECRET.password("shop_client")
    assert SECRET.password("shop_client") != SECRET.password("shop_service")
    assert SECRET.password("shop_client") != Secret(bytes(32)).password("shop_client")
    assert len(SECRET.password("shop_client")) == 43


def test_neither_the_secret_nor_its_password_is_the_fingerprint() -> None:
    assert SECRET.fingerprint not in SECRET.value.hex()
    assert len(SECRET.fingerprint) == 16


def test_a_secret_does_not_show_itself() -> None:
    assert repr(SECRET) == "Secret()"
