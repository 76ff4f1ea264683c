from pathlib import Path

import pytest

from bulkhead.engine.drivers.endpoint import Endpoint, Session, Tls
from bulkhead.engine.drivers.errors import CapabilityMissing
from bulkhead.engine.drivers.mysql_endpoint import parse_mysql_dsn, render_mysql_dsn
from bulkhead.engine.drivers.mysql_wire import Target, parse_version, verify_version
from bulkhead.engine.errors import ConfigurationInvalid


def test_a_dsn_is_read() -> None:
    found = parse_mysql_dsn("mysql://root:p%23w@db.example:3307/shop?ssl-mode=VERIFY_IDENTITY")
    assert found == Endpoint("db.example", 3307, "root", "p#w", "shop", tls=Tls.VERIFY_FULL)
    assert parse_mysql_dsn("mysql://root@[::1]/").port == 3306
    assert parse_mysql_dsn("mysql://root@/?socket=/run/x.sock").host == "/run/x.sock"


def test_without_a_word_tls_is_verified_save_on_this_machine() -> None:
    assert Target.of(parse_mysql_dsn("mysql://a@db.example/")).tls is Tls.VERIFY_FULL
    assert Target.of(parse_mysql_dsn("mysql://a@127.0.0.1/")).tls is Tls.DISABLE


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://a@b/c",
        "mysql://b/c",
        "mysql://a:secret@b,c/d",
        "mysql://a:secret@0x7f000001/d",
        "mysql://a:secret@2130706433/d",
        "mysql://a:secret@b/d?local_infile=1",
        "mysql://a:secret@b/d?ssl-mode=PREFERRED",
        "mysql://a:secret@b/d?ssl-mode=REQUIRED&ssl-mode=DISABLED",
        "mysql://a:secret@b/d?ssl-ca=/no/such/file",
        "mysql://a:secret@b/d?socket=/x",
        "mysql://a:secret@/d?socket=x",
        "mysql://a:secret@b:0/d",
        "mysql://a:secret@b:99999/d",
        "mysql://a:secret@b/d#x",
        "mysql://a:secret@b/d/e",
        "mysql://a:secret@b/d%00",
    ],
)
def test_what_is_not_understood_is_refused_without_repeating_it(dsn: str) -> None:
    with pytest.raises(ConfigurationInvalid) as caught:
        parse_mysql_dsn(dsn)
    assert "secret" not in str(caught.value.to_json())


def test_what_is_rendered_is_read_back(tmp_path: Path) -> None:
    ca_file = tmp_path / "ca.crt"
    ca_file.touch()
    for host in ("db.example", "::1", "/run/my sql.sock"):
        endpoint = Endpoint(host, 3306, "u@x", "p/:?#", "shop", Tls.VERIFY_CA, ca_file)
        session = Session(endpoint.user, endpoint.password, endpoint.database)
        assert parse_mysql_dsn(render_mysql_dsn(endpoint, session)) == endpoint


@pytest.mark.parametrize(
    ("version", "number"),
    [
        ("10.11.6-MariaDB-0+deb12u1", 101106),
        ("5.5.5-10.11.6-MariaDB", 101106),
        ("8.0.36", 80036),
        ("8.0.11-TiDB-v7.5.0", 80011),
        ("five", 0),
        ("", 0),
        ("\u0668.0.3", 0),
    ],
)
def test_versions_are_read(version: str, number: int) -> None:
    assert parse_version(version) == number


@pytest.mark.parametrize("version", ["5.7.44", "10.5.23-MariaDB", "10.3.0-mariadb", "?", ""])
def test_old_servers_are_refused_before_they_get_a_password(version: str) -> None:
    with pytest.raises(CapabilityMissing, match=r"MySQL 8\.0 or MariaDB 10\.6"):
        verify_version("db:3306", version)


def test_only_certain_ways_may_carry_a_password_itself() -> None:
    def trusted(host: str, tls: Tls, *, is_local: bool = False) -> bool:
        return Target(host, 3306, tls, is_local).is_trusted

    assert not trusted("db", Tls.DISABLE)
    assert not trusted("db", Tls.REQUIRE)
    assert trusted("db", Tls.VERIFY_CA)
    assert trusted("db", Tls.VERIFY_FULL)
    assert trusted("/run/socket", Tls.DISABLE, is_local=True)
    assert trusted("localhost", Tls.REQUIRE, is_local=True)
    assert not trusted("127.0.0.1", Tls.DISABLE, is_local=True)
