"""What a file may be called, what it may be, and what its first bytes say."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from bulkhead.apps.store_platform.store.media.model import (
    FILE_BYTES_MAX,
    HEAD_BYTES,
    FileSaid,
    MediaEmpty,
    MediaMisnamed,
    MediaTooLarge,
    MediaTypeRefused,
    NewFile,
    measure_image,
    object_key,
    parse_content_type,
)
from bulkhead.engine.ids import new_id


@pytest.mark.parametrize(
    "name", ["a.png", "Été.jpg", "図 (1).pdf", "a'b\".txt", "%2e%2e", ".hidden", "👩\u200d🚀.gif",
             "a" * 255]
)  # fmt: skip
def test_a_name_that_people_give_is_kept(name: str) -> None:
    assert FileSaid(file_name=name).file_name == name


def test_a_name_is_composed_and_stripped() -> None:
    assert FileSaid(file_name="  e\u0301.png ").file_name == "é.png"


@pytest.mark.parametrize(
    "name", ["", " ", ".", "..", "...", "a/b", "a\\b", "/", "a\0b", "a\rb", "\u202ea", "\u200d",
             "\ud800"]
)  # fmt: skip
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(ValidationError):
        FileSaid(file_name=name)


@given(st.text(max_size=300))
def test_whatever_is_taken_as_a_name_is_one(name: str) -> None:
    try:
        kept = FileSaid(file_name=name).file_name
    except ValidationError:
        return
    assert 0 < len(kept) <= 255
    assert not set(kept) & set("/\\\0\r\n")
    kept.encode()


@pytest.mark.parametrize(
    ("header", "kind"),
    [
        ("image/png", "image/png"),
        ("Image/PNG; charset=utf-8", "image/png"),
        (" text/plain ;x", "text/plain"),
        ("", ""),
    ],
)
def test_of_a_content_type_the_media_type_counts(header: str, kind: str) -> None:
    assert parse_content_type(header) == kind


@pytest.mark.parametrize(
    "kind",
    ["", "image", "image/", "/png", "image/png/x", "image/p ng", "im age/png", "image/png\n",
     "ímage/png",
     "multipart/form-data", "application/x-www-form-urlencoded", "image/" + "x" * 122],
)  # fmt: skip
def test_what_is_no_type_of_a_file_is_refused(kind: str) -> None:
    with pytest.raises(MediaTypeRefused):
        NewFile("a", kind, 1)


def test_a_file_has_bytes_and_not_too_many() -> None:
    NewFile("a", "image/png", FILE_BYTES_MAX)
    with pytest.raises(MediaTooLarge):
        NewFile("a", "image/png", FILE_BYTES_MAX + 1)
    for size in (0, -1):
        with pytest.raises(MediaEmpty):
            NewFile("a", "image/png", size)


HEADS = {
    "image/png": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", 640, 480),
    "image/gif": b"GIF89a" + struct.pack("<HH", 640, 480),
    "image/jpeg": b"\xff\xd8\xff\xe0\0\x10" + b"JFIF" + b"\0" * 10
    + b"\xff\xc2\0\x11\x08" + struct.pack(">HH", 480, 640),
    "image/webp": b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0"
    + (639).to_bytes(3, "little") + (479).to_bytes(3, "little"),
}  # fmt: skip
LOSSY = b"RIFF\0\0\0\0WEBPVP8 \0\0\0\0\0\0\0\x9d\x01\x2a" + struct.pack("<HH", 640, 480)
LOSSLESS = b"RIFF\0\0\0\0WEBPVP8L\0\0\0\0\x2f" + (639 | 479 << 14).to_bytes(4, "little") + b"\0" * 9


@pytest.mark.parametrize("kind", HEADS)
def test_pictures_are_measured_by_their_heads(kind: str) -> None:
    assert measure_image(kind, HEADS[kind]) == (640, 480)
    for size in range(len(HEADS[kind])):
        assert measure_image(kind, HEADS[kind][:size]) is None
    NewFile("a", kind, 1).verify_head(HEADS[kind])


@pytest.mark.parametrize("head", [LOSSY, LOSSLESS], ids=["lossy", "lossless"])
def test_webp_has_three_heads(head: bytes) -> None:
    assert measure_image("image/webp", head) == (640, 480)


@given(st.sampled_from([*HEADS, "image/avif", "video/mp4"]), st.binary(max_size=200))
def test_no_head_breaks_the_measure(kind: str, tail: bytes) -> None:
    for head in (tail, HEADS.get(kind, b"")[:12] + tail):
        size = measure_image(kind, head)
        assert size is None or (min(size) > 0 and max(size) < 2**31)


def test_a_jpeg_without_an_end_ends() -> None:
    head = b"\xff\xd8" + b"\xff\xe1\0\x00" * (HEAD_BYTES // 4)
    assert measure_image("image/jpeg", head) is None


@pytest.mark.parametrize(
    "kind", [*HEADS, "image/avif", "video/mp4", "video/webm", "application/pdf"]
)
def test_a_page_that_calls_itself_a_picture_is_none(kind: str) -> None:
    file = NewFile("a", kind, 1)
    assert file.is_shown
    for head in (b"", b"<html>", b"\n" + HEADS.get(kind, b"x"), b"%!PS"):
        with pytest.raises(MediaMisnamed):
            file.verify_head(head)


@pytest.mark.parametrize(
    "kind", ["text/html", "image/svg+xml", "application/javascript", "text/plain"]
)
def test_what_can_run_is_never_shown(kind: str) -> None:
    file = NewFile("a", kind, 1)
    file.verify_head(b"<script>")
    assert not file.is_shown


def test_keys_follow_from_ids_alone() -> None:
    store, media = new_id(), new_id()
    assert object_key(store, media) == f"stores/{store}/media/{media}"
