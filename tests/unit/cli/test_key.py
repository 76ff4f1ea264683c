"""`bulkhead key` and `bulkhead status`, which need no server."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from bulkhead.cli.main import cli
from bulkhead.cli.output import EXIT_UNREACHABLE
from bulkhead.engine.connections.claims import Role
from bulkhead.engine.errors import BulkheadError, Invalid, TopologyInvalid
from bulkhead.engine.settings import Settings, load_dotenv
from bulkhead.gateway.keyring import open_keyring
from bulkhead.gateway.keys import KeyKind


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def run(home: Path, *arguments: str) -> Result:
    return CliRunner().invoke(cli, ["--home", str(home), *arguments], standalone_mode=False)


def tell(home: Path, *arguments: str) -> Any:
    done = run(home, "--json", *arguments)
    assert done.exception is None, done.output
    return json.loads(done.stdout)


def refusal(home: Path, *arguments: str) -> BulkheadError:
    done = run(home, *arguments)
    assert isinstance(done.exception, BulkheadError), done.output
    return done.exception


def secret_of(home: Path) -> str:
    keys = open_keyring("commerce", Settings(home=home)).keys("orders")
    return keys.current(KeyKind.SECRET, Role.SERVICE)


def test_keys_are_listed_and_secret_ones_hidden_unless_asked_for(home: Path) -> None:
    hidden, shown = run(home, "key", "list").output, run(home, "key", "list", "--reveal").output
    assert secret_of(home) in shown
    assert secret_of(home) not in hidden
    assert "sb_publishable_" in hidden
    rows = tell(home, "key", "list")
    assert {row["kind"] for row in rows} == {"signing", "publishable", "secret", "jwt"}
    assert len(rows) == 2 + 3 * 4


def test_a_key_is_rotated_and_the_former_one_revoked(home: Path) -> None:
    former = secret_of(home)
    assert tell(home, "key", "rotate", "secret", "-d", "orders")["id"] == 1
    assert secret_of(home) != former
    states = {row["id"]: row["state"] for row in tell(home, "key", "list") if _is_orders(row)}
    assert states == {0: "previous", 1: "current"}
    tell(home, "key", "revoke", "secret", "0", "-d", "orders")
    assert former not in run(home, "key", "list", "--reveal").output


def _is_orders(row: dict[str, Any]) -> bool:
    return (row["kind"], row["database"]) == ("secret", "orders")


def test_a_signing_key_is_rotated_and_the_former_one_revoked(home: Path) -> None:
    def states() -> dict[str, str]:
        rows = tell(home, "key", "list")
        return {row["id"]: row["state"] for row in rows if row["kind"] == "signing"}

    before = states()
    current = tell(home, "key", "rotate", "signing")["id"]
    assert before[current] == "standby"
    [former] = [kid for kid, state in states().items() if state == "previous"]
    tell(home, "key", "revoke", "signing", former)
    assert states()[former] == "revoked"


def test_a_signing_key_is_imported_and_signs_after_a_rotation(home: Path, tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    private = rsa.generate_private_key(65_537, 2048)
    path.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    made = tell(home, "key", "import", str(path))
    assert made["state"] == "standby"
    assert tell(home, "key", "rotate", "signing")["id"] == made["id"]
    assert refusal(home, "key", "import", str(path)).code == "key_not_importable"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("rotate", "secret"), Invalid.code),
        (("rotate", "secret", "-d", "nowhere"), TopologyInvalid.code),
        (("revoke", "secret", "x", "-d", "orders"), Invalid.code),
        (("revoke", "secret", "0", "-d", "orders"), "api_key_not_revocable"),
        (("revoke", "secret", "7", "-d", "orders"), "api_key_not_revocable"),
        (("revoke", "signing", "nothing"), "key_not_revocable"),
    ],
)
def test_what_cannot_be_done_is_said(home: Path, arguments: tuple[str, ...], code: str) -> None:
    assert refusal(home, "key", *arguments).code == code


def test_the_environment_is_printed_whether_or_not_a_server_runs(
    home: Path, tmp_path: Path
) -> None:
    done = run(home, "status", "-o", "env")
    assert done.return_value == EXIT_UNREACHABLE
    path = tmp_path / ".env"
    path.write_text(done.stdout)
    values = load_dotenv(path)
    assert values["SUPABASE_ORDERS_SECRET_KEY"] == secret_of(home)
    assert values["NEXT_PUBLIC_SUPABASE_USER_URL"].endswith("/commerce/users")
    assert "bulkhead up" in done.stderr


def test_the_status_as_json_hides_secret_keys_unless_asked_for(home: Path) -> None:
    told = run(home, "status", "-o", "json")
    apis = json.loads(told.stdout)["apis"]
    assert [api["database"] for api in apis] == [
        "commerce.users",
        "commerce.products",
        "commerce.orders",
        "store_platform.master",
    ]
    assert secret_of(home) not in told.stdout
    assert secret_of(home) in run(home, "status", "-o", "json", "--reveal").stdout
