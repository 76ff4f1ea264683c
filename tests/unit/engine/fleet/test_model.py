import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.engine.drivers.endpoint import Tls
from bulkhead.engine.errors import Invalid
from bulkhead.engine.fleet.model import ConnectionConfig, SecretText, ServerKind


def config(**changed: object) -> ConnectionConfig:
    fields: dict[str, object] = {
        "kind": ServerKind.POSTGRESQL,
        "host": "db.example.com",
        "port": 5432,
        "database": "shop",
        "username": "shop",
        "password": SecretText("geheim"),
    }
    return ConnectionConfig(**{**fields, **changed})  # type: ignore[arg-type]


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=50)


@given(
    kind=st.sampled_from(ServerKind),
    tls=st.sampled_from(Tls),
    password=TEXT,
    key=st.none() | TEXT,
    pooled=st.booleans(),
    pooler=st.none() | st.just("pooler.example.com:6432"),
)
def test_a_configuration_that_was_sealed_is_the_same_again(
    kind: ServerKind, tls: Tls, password: str, key: str | None, pooled: bool, pooler: str | None
) -> None:
    made = config(
        kind=kind,
        tls=tls,
        password=SecretText(password),
        pooled=pooled,
        pooler=pooler,
        ca_pem="-----BEGIN",
        project_url="https://x.example.com",
        service_role_key=key if key is None else SecretText(key),
    )
    assert ConnectionConfig.from_bytes(made.to_bytes()) == made


@pytest.mark.parametrize(
    ("pooler", "address"),
    [
        ("pooler.example.com:6432", ("pooler.example.com", 6432)),
        ("10.0.0.5:6432", ("10.0.0.5", 6432)),
        ("[::1]:6432", ("::1", 6432)),
        (None, None),
    ],
)
def test_a_pooler_is_a_host_and_a_port(pooler: str | None, address: tuple[str, int] | None) -> None:
    assert config(pooler=pooler).pooler_address == address


@pytest.mark.parametrize(
    "pooler", ["", "host", "host:", ":6432", "host:0", "host:70000", "a,b:1", "h:6 4"]
)
def test_anything_else_is_no_pooler(pooler: str) -> None:
    with pytest.raises(Invalid, match="pooler"):
        config(pooler=pooler)


def test_passwords_show_up_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    made = config(service_role_key=SecretText("geheimer"))
    logging.getLogger("test").warning("%s %r %s", made, made, made.password)
    assert "geheim" not in f"{made}{made!r}{caplog.text}"
    assert made.password.reveal() == "geheim"


@pytest.mark.parametrize(
    "changed",
    [
        {"host": ""},
        {"host": "a,b"},
        {"host": "user@host"},
        {"host": "/var/run"},
        {"host": "host/path"},
        {"host": "host?x=1"},
        {"host": "a" * 256},
        {"host": "one\ntwo"},
        {"port": 0},
        {"port": 65536},
        {"database": ""},
        {"database": "a\0b"},
        {"username": "a\nb"},
        {"username": "u" * 256},
        {"password": SecretText("a\0b")},
        {"password": SecretText("a" * 5000)},
    ],
)
def test_fields_that_could_be_something_else_are_refused(changed: dict[str, object]) -> None:
    with pytest.raises(Invalid):
        config(**changed)


def test_a_server_is_named_by_host_and_port() -> None:
    assert config().server == "db.example.com:5432"
    assert config(host="2001:db8::1", port=6543).server == "[2001:db8::1]:6543"
    assert (ServerKind.MYSQL.port, ServerKind.SUPABASE.port) == (3306, 5432)
