import ssl
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.engine.drivers.endpoint import Endpoint, Session, Tls, _context, parse_dsn
from bulkhead.engine.drivers.errors import TlsRequired
from bulkhead.engine.errors import ConfigurationInvalid

SESSION = Session("shop_client", "p@ss/w:rd#%", "shop_orders")


def test_a_dsn_is_read_part_by_part() -> None:
    found = parse_dsn("postgresql://admin:p%40ss@db.example:6543/main?sslmode=require")
    assert found == Endpoint("db.example", 6543, "admin", "p@ss", "main", Tls.REQUIRE)


def test_what_a_dsn_leaves_out_has_plain_defaults() -> None:
    assert parse_dsn("postgres://admin@db.example") == Endpoint("db.example", 5432, "admin", "")


def test_a_socket_is_named_by_its_directory() -> None:
    found = parse_dsn("postgresql://admin:x@/postgres?host=/run/postgresql&port=5433")
    assert (found.host, found.port, found.is_local) == ("/run/postgresql", 5433, True)


def test_an_ipv6_address_is_read_and_rendered_in_brackets() -> None:
    found = parse_dsn("postgresql://admin:x@[::1]:5433/postgres")
    assert (found.host, found.name, found.is_local) == ("::1", "[::1]:5433", True)


@pytest.mark.parametrize(
    "dsn",
    [
        "",
        "mysql://admin:x@db.example/main",
        "db.example",
        "postgresql://db.example/main",
        "postgresql://admin:x@/main",
        "postgresql://admin:x@one.example,two.example/main",
        "postgresql://admin:x@one.example:1,two.example:2/main",
        "postgresql://admin:x@db.example:0/main",
        "postgresql://admin:x@db.example:65536/main",
        "postgresql://admin:x@db.example:x/main",
        "postgresql://admin:x@db.example:5432/main?port=5433",
        "postgresql://admin:x@db.example/main?sslmode=prefer",
        "postgresql://admin:x@db.example/main?sslmode=",
        "postgresql://admin:x@db.example/main?sslmode=require&sslmode=disable",
        "postgresql://admin:x@db.example/main?options=-c%20role%3Dpostgres",
        "postgresql://admin:x@db.example/main?service=other",
        "postgresql://admin:x@db.example/main?passfile=/etc/passwd",
        "postgresql://admin:x@db.example/main?hostaddr=127.0.0.1",
        "postgresql://admin:x@db.example/main?sslkey=/etc/key",
        "postgresql://admin:x@db.example/main?host=/tmp",
        "postgresql://admin:x@db.example/main?sslrootcert=/no/such/file",
        "postgresql://admin:x@/main?host=other.example",
        "postgresql://admin:x@/main?host=/one,/two",
        "postgresql://admin:x@127.1/main",
        "postgresql://admin:x@2130706433/main",
        "postgresql://admin:x@0x7f.1/main",
        "postgresql://admin:x@0/main",
        "postgresql://admin:x@db example/main",
        "postgresql://admin:x@db.example/ma%2Fin",
        "postgresql://admin:x@db.example/ma%0Ain",
        "postgresql://ad%00min:x@db.example/main",
        "postgresql://admin:x#y@db.example/main",
        "postgresql://admin:x@db.example/main?sslmode",
        "postgresql://admin:x@[::1/main",
    ],
)
def test_a_dsn_that_could_mean_something_else_is_refused(dsn: str) -> None:
    with pytest.raises(ConfigurationInvalid, match="DSN"):
        parse_dsn(dsn)


def test_a_refusal_does_not_repeat_the_password() -> None:
    with pytest.raises(ConfigurationInvalid) as caught:
        parse_dsn("postgresql://admin:hunter2@db.example/main?options=hunter2")
    assert "hunter2" not in str(caught.value)


NAMES = st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S"]), min_size=1)


@given(user=NAMES, password=NAMES, database=NAMES.filter(lambda text: "/" not in text))
def test_what_is_rendered_is_read_back(user: str, password: str, database: str) -> None:
    endpoint = Endpoint("db.example", 5432, "admin", "x")
    found = parse_dsn(endpoint.url(Session(user, password, database)))
    assert (found.user, found.password, found.database) == (user, password, database)
    assert (found.host, found.tls) == ("db.example", Tls.VERIFY_FULL)


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    for dsn in (text, f"postgresql://{text}", f"postgresql://a:b@db.example/{text}"):
        try:
            found = parse_dsn(dsn)
        except ConfigurationInvalid:
            continue
        assert "," not in found.host
        assert 0 < found.port < 65536


@pytest.mark.parametrize(
    ("host", "tls", "verified", "expected"),
    [
        ("db.example", None, False, Tls.VERIFY_FULL),
        ("db.example", Tls.DISABLE, False, Tls.DISABLE),
        ("db.example", Tls.REQUIRE, False, Tls.REQUIRE),
        ("db.example", Tls.DISABLE, True, Tls.VERIFY_FULL),
        ("db.example", Tls.VERIFY_CA, True, Tls.VERIFY_FULL),
        ("10.0.0.5", None, False, Tls.VERIFY_FULL),
        ("localhost", None, True, Tls.DISABLE),
        ("127.0.0.1", None, True, Tls.DISABLE),
        ("::1", None, False, Tls.DISABLE),
        ("/run/postgresql", None, True, Tls.DISABLE),
        ("localhost", Tls.VERIFY_FULL, False, Tls.VERIFY_FULL),
    ],
)
def test_tls_is_verified_unless_the_server_is_local_or_the_dsn_says_otherwise(
    host: str, tls: Tls | None, verified: bool, expected: Tls
) -> None:
    assert Endpoint(host, 5432, "admin", "x", tls=tls).tls_for(verified=verified) is expected


@pytest.mark.parametrize(
    ("tls", "checks_name", "mode"),
    [
        (Tls.REQUIRE, False, ssl.CERT_NONE),
        (Tls.VERIFY_CA, False, ssl.CERT_REQUIRED),
        (Tls.VERIFY_FULL, True, ssl.CERT_REQUIRED),
    ],
)
def test_each_degree_of_tls_checks_what_it_says(
    tls: Tls, checks_name: bool, mode: ssl.VerifyMode
) -> None:
    context = _context(Endpoint("db.example", 5432, "admin", "x"), tls)
    assert isinstance(context, ssl.SSLContext)
    assert (context.check_hostname, context.verify_mode) == (checks_name, mode)


def test_a_file_without_certificates_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "ca.crt"
    file.write_text("nothing")
    endpoint = parse_dsn(f"postgresql://admin:x@db.example/main?sslrootcert={file}")
    with pytest.raises(TlsRequired, match="no certificates"):
        _context(endpoint, Tls.VERIFY_FULL)


def test_passwords_do_not_show_themselves() -> None:
    endpoint = parse_dsn("postgresql://admin:hunter2@db.example/main")
    assert "hunter2" not in repr(endpoint) + repr(endpoint.administrator()) + endpoint.name


def test_the_url_of_a_socket_and_of_a_server_with_its_own_authority(tmp_path: Path) -> None:
    file = tmp_path / "ca.crt"
    assert Endpoint("/run/pg", 5433, "admin", "x").url(SESSION) == (
        "postgresql://shop_client:p%40ss%2Fw%3Ard%23%25@/shop_orders"
        "?sslmode=disable&host=/run/pg&port=5433"
    )
    assert (
        Endpoint("db.example", 5432, "admin", "x", ca_file=file)
        .url(SESSION)
        .endswith(f"@db.example:5432/shop_orders?sslmode=verify-full&sslrootcert={file}")
    )
