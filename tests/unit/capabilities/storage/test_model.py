"""Connections to buckets say no more than where a bucket is and what opens it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.capabilities.storage import (
    Disposition,
    ObjectNameRefused,
    StorageConfig,
    StorageConfigInvalid,
    StorageKind,
    supabase_endpoint,
)
from bulkhead.capabilities.storage.bucket import render_disposition, verify_key

GOOD: dict[str, Any] = {
    "bucket": "my-bucket.2",
    "region": "eu-central-1",
    "access_key_id": "AKIAIOSFODNN7EXAMPLE",
    "secret": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
}


def test_amazons_own_buckets_are_found_by_their_region() -> None:
    found = StorageConfig.s3(**GOOD)
    assert found.endpoint == "https://s3.eu-central-1.amazonaws.com"
    assert found.place == ("aws-s3", found.endpoint, "my-bucket.2")


def test_a_connection_is_what_it_was_when_it_is_opened_again() -> None:
    found = StorageConfig.s3(**GOOD, endpoint="https://r2.example:8443/x/", session_token="t/+=")  # noqa: S106
    assert StorageConfig.from_bytes(found.to_bytes()) == found
    assert found.endpoint == "https://r2.example:8443/x"
    assert len({found.digest, StorageConfig.s3(**GOOD).digest}) == 2


def test_no_secret_is_shown() -> None:
    found = StorageConfig.s3(**GOOD, session_token="token-token")  # noqa: S106
    assert GOOD["secret"] not in f"{found} {found.shown}"
    assert "token-token" not in f"{found} {found.shown}"


@pytest.mark.parametrize(
    "fields",
    [
        {"bucket": ""},
        {"bucket": "ab"},
        {"bucket": "a" * 64},
        {"bucket": "UPPER-case"},
        {"bucket": "a/../b"},
        {"bucket": "a..b"},
        {"bucket": "a?x=1"},
        {"bucket": "-abc"},
        {"region": ""},
        {"region": "eu central"},
        {"region": "x.evil.example/"},
        {"region": "@evil.example"},
        {"access_key_id": ""},
        {"access_key_id": "a b"},
        {"access_key_id": "a\r\nx: y"},
        {"access_key_id": "ü"},
        {"secret": ""},
        {"secret": "a\r\nb"},
        {"secret": "a\0b"},
        {"secret": "ü"},
        {"secret": "x" * 10_000},
        {"session_token": "a\0"},
        {"endpoint": "ftp://s3.example"},
        {"endpoint": "//s3.example"},
        {"endpoint": "https://"},
        {"endpoint": "https://user@s3.example"},
        {"endpoint": "https://user:pw@s3.example"},
        {"endpoint": "https://s3.example?x"},
        {"endpoint": "https://s3.example/#x"},
        {"endpoint": "https://s3.example\\@evil.example"},
        {"endpoint": "https://s3.example/a/../b"},
        {"endpoint": "https://s3.example/%2e%2e"},
        {"endpoint": "https://s3.exam ple"},
        {"endpoint": "https://s3.example/\n"},
        {"endpoint": "https://s3.example/" + "x" * 1000},
        {"endpoint": "https://[::1"},
    ],
    ids=str,
)
def test_what_says_more_or_nothing_is_refused(fields: dict[str, str]) -> None:
    with pytest.raises(StorageConfigInvalid):
        StorageConfig.s3(**{**GOOD, **fields})


@pytest.mark.parametrize(
    "url",
    [
        "https://abcdefghij.supabase.co",
        "https://abcdefghij.supabase.co/",
        "https://abcdefghij.supabase.co/rest/v1",
        "https://abcdefghij.storage.supabase.co/storage/v1/s3",
    ],
)
def test_a_supabase_project_has_one_storage(url: str) -> None:
    found = supabase_endpoint(url)
    assert found == "https://abcdefghij.storage.supabase.co/storage/v1/s3"
    config = StorageConfig.s3(
        **{**GOOD, "bucket": "Product_Images"}, endpoint=found, kind=StorageKind.SUPABASE
    )
    assert config.place[0] == "supabase-storage"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "https://supabase.co",
        "https://.supabase.co",
        "https://evil.example/.supabase.co",
        "https://evilsupabase.co",
        "https://abc.supabase.co.evil.example",
        "https://a.b.supabase.co",
        "https://[::1",
        "https://ébc.supabase.co",
    ],
)
def test_what_is_no_supabase_project_is_refused(url: str) -> None:
    with pytest.raises(StorageConfigInvalid):
        supabase_endpoint(url)


@given(st.text(max_size=60))
def test_a_file_name_never_leaves_its_header(name: str) -> None:
    header = render_disposition(Disposition.ATTACHMENT, name)
    assert header.isascii()
    assert header.isprintable()
    assert header.startswith("attachment")
    assert header.count('"') == (2 if name else 0)
    assert header.count(";") == (2 if name else 0)


@given(st.text(max_size=60))
def test_a_key_that_is_taken_means_one_thing(key: str) -> None:
    try:
        verify_key(key)
    except ObjectNameRefused:
        return
    assert key.isprintable()
    assert not key.startswith("/")
    assert all(part not in {"", ".", ".."} for part in key.split("/"))
