import pytest

from bulkhead.http.bodies import BodyTooLarge, Declared, read_declared
from bulkhead.web.body_guard import (
    BodyRule,
    ContentEncodingUnsupported,
    ContentTypeUnsupported,
    verify_declared,
)

JSON_RULE = BodyRule("/", size_bytes_max=100)


def declared(**headers: str) -> Declared:
    return read_declared(
        [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    )


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "Application/JSON; charset=UTF-8",
        'application/json; charset="utf-8"',
        "application/merge-patch+json",
    ],
)
def test_json_is_taken_in_all_its_spellings(content_type: str) -> None:
    verify_declared(declared(content_length="2", content_type=content_type), JSON_RULE)


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "text/plain",
        "application/jsonp",
        "application/json; charset=latin-1",
        "multipart/form-data",
    ],
)
def test_another_media_type_is_refused(content_type: str) -> None:
    with pytest.raises(ContentTypeUnsupported):
        verify_declared(declared(content_length="2", content_type=content_type), JSON_RULE)


def test_a_rule_may_take_other_media_types() -> None:
    rule = BodyRule("/upload", content_types=("image/png",))
    verify_declared(declared(content_length="2", content_type="image/png"), rule)
    with pytest.raises(ContentTypeUnsupported):
        verify_declared(declared(content_length="2", content_type="application/json"), rule)


def test_a_declared_length_above_the_limit_is_refused_before_reading() -> None:
    verify_declared(declared(content_length="100", content_type="application/json"), JSON_RULE)
    with pytest.raises(BodyTooLarge):
        verify_declared(declared(content_length="101", content_type="application/json"), JSON_RULE)


def test_a_compressed_body_is_refused() -> None:
    with pytest.raises(ContentEncodingUnsupported):
        verify_declared(
            declared(content_length="9", content_type="application/json", content_encoding="gzip"),
            JSON_RULE,
        )
