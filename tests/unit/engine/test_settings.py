from pathlib import Path

import pytest

from bulkhead.engine.errors import ConfigurationInvalid
from bulkhead.engine.settings import Settings, Smtp, load_dotenv, load_settings


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setattr("os.environ", {})
    return monkeypatch


def test_nothing_needs_to_be_configured(tmp_path: Path) -> None:
    assert load_settings(tmp_path) == Settings()


def test_the_environment_wins_over_the_file_and_options_over_both(
    tmp_path: Path, environment: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text(
        "BULKHEAD_PORT=1\nBULKHEAD_HOST=a.example\nBULKHEAD_LOG_LEVEL=debug\n"
    )
    environment.setenv("BULKHEAD_PORT", "2")
    environment.setenv("BULKHEAD_HOST", "b.example")
    settings = load_settings(tmp_path, port=3, host=None)
    assert (settings.port, settings.host, settings.log_level) == (3, "b.example", "debug")


def test_an_empty_variable_counts_as_not_set(
    tmp_path: Path, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("BULKHEAD_PORT", "")
    assert load_settings(tmp_path).port == Settings().port


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "http"),
        ("PORT", "-1"),
        ("PORT", "65536"),
        ("PORT", "80.5"),
        ("POOL_SIZE", "0"),
        ("SERVER_CONNECTIONS", "1"),
        ("STATEMENT_TIMEOUT_S", "0"),
        ("LOG_LEVEL", "loud"),
        ("LOG_FORMAT", "xml"),
        ("AUTOCONFIRM", "maybe"),
        ("LEASE_S", "0"),
        ("SUPABASE_API", "api.supabase.com"),
        ("SUPABASE_API", "ftp://api.supabase.com"),
        ("SUPABASE_API", "https://"),
    ],
)
def test_a_value_that_makes_no_sense_is_refused_by_name(
    tmp_path: Path, environment: pytest.MonkeyPatch, name: str, value: str
) -> None:
    environment.setenv(f"BULKHEAD_{name}", value)
    with pytest.raises(ConfigurationInvalid, match=f"BULKHEAD_{name}"):
        load_settings(tmp_path)


@pytest.mark.parametrize(
    ("text", "expected"), [("true", True), ("YES", True), ("1", True), ("no", False), ("0", False)]
)
def test_a_flag_is_said_in_several_ways(
    tmp_path: Path, environment: pytest.MonkeyPatch, text: str, expected: bool
) -> None:
    environment.setenv("BULKHEAD_AUTOCONFIRM", text)
    assert load_settings(tmp_path).autoconfirm is expected


def test_databases_elsewhere_are_named_by_application_and_database(
    tmp_path: Path, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("BULKHEAD_DATABASE_COMMERCE__ORDERS_URL", "postgresql://h/orders")
    environment.setenv("BULKHEAD_DATABASE_STORE_PLATFORM__MASTER_URL", "postgresql://h/master")
    assert load_settings(tmp_path).database_urls == {
        "commerce.orders": "postgresql://h/orders",
        "store_platform.master": "postgresql://h/master",
    }
    assert load_settings(tmp_path).database_direct_urls == {}


def test_beside_a_poolers_dsn_stands_the_servers_own(
    tmp_path: Path, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("BULKHEAD_SERVER_URL", "postgresql://pooler/postgres")
    environment.setenv("BULKHEAD_SERVER_DIRECT_URL", "postgresql://h/postgres")
    environment.setenv("BULKHEAD_DATABASE_COMMERCE__ORDERS_URL", "postgresql://pooler/orders")
    environment.setenv("BULKHEAD_DATABASE_COMMERCE__ORDERS_DIRECT_URL", "postgresql://h/orders")
    found = load_settings(tmp_path)
    assert (found.server_url, found.server_direct_url) == (
        "postgresql://pooler/postgres",
        "postgresql://h/postgres",
    )
    assert found.database_urls == {"commerce.orders": "postgresql://pooler/orders"}
    assert found.database_direct_urls == {"commerce.orders": "postgresql://h/orders"}


def test_mail_is_handed_over_only_when_a_host_is_named(
    tmp_path: Path, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("BULKHEAD_SMTP_PORT", "25")
    assert load_settings(tmp_path).smtp is None
    environment.setenv("BULKHEAD_SMTP_HOST", "mail.example")
    environment.setenv("BULKHEAD_SMTP_STARTTLS", "no")
    assert load_settings(tmp_path).smtp == Smtp("mail.example", port=25, starttls=False)


def test_proxies_are_separated_by_commas_or_spaces(
    tmp_path: Path, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("BULKHEAD_TRUSTED_PROXIES", "10.0.0.0/8, 127.0.0.1  ::1")
    assert load_settings(tmp_path).trusted_proxies == ("10.0.0.0/8", "127.0.0.1", "::1")


def test_the_origin_is_the_public_address_without_a_slash() -> None:
    assert Settings().origin == "http://127.0.0.1:8000"
    assert Settings(site_url="https://shop.example/").origin == "https://shop.example"


def test_settings_do_not_show_their_secrets() -> None:
    settings = Settings(
        server_url="postgresql://admin:swordfish@h",
        database_urls={"commerce.orders": "postgresql://u:swordfish@h"},
        server_direct_url="postgresql://admin:swordfish@h",
        database_direct_urls={"commerce.orders": "postgresql://u:swordfish@h"},
        smtp=Smtp("mail.example", password="swordfish"),  # noqa: S106
    )
    assert "swordfish" not in repr(settings)


def test_a_dotenv_file_is_read_as_shells_write_it(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text(
        "# a comment\n\nPLAIN=a b\nexport EXPORTED=x\nDOUBLE=\"quoted # text\"\nSINGLE='q'\n"
        '  SPACED  =  trimmed  \nEMPTY=\nEQUALS=a=b\nnot a line\nQUOTE="\n'
    )
    assert load_dotenv(path) == {
        "PLAIN": "a b",
        "EXPORTED": "x",
        "DOUBLE": "quoted # text",
        "SINGLE": "q",
        "SPACED": "trimmed",
        "EMPTY": "",
        "EQUALS": "a=b",
        "QUOTE": '"',
    }
    assert load_dotenv(tmp_path / "missing") == {}
