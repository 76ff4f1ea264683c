"""What may be stored as a file, and what its first bytes tell of it."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Annotated, Final
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from bulkhead.engine.errors import BulkheadError, Invalid
from bulkhead.http.texts import ShownLine

FILE_BYTES_MAX: Final = 100_000_000
HEAD_BYTES: Final = 65_536
"""How much of a file is looked at."""
NAME_CHARACTERS_MAX: Final = 255
ALT_CHARACTERS_MAX: Final = 500
TYPE_CHARACTERS_MAX: Final = 127
PICTURES_MAX: Final = 100
_TYPE: Final = re.compile(r"[a-z]+/[a-z0-9.+-]+")
_NOT_FILES: Final = frozenset(
    {"multipart/form-data", "multipart/mixed", "application/x-www-form-urlencoded"}
)
_JOINERS: Final = "\u200c\u200d"
"""Not printable by themselves, but parts of words and of pictures in names."""
_SHOWN: Final = {
    "image/png": rb"\x89PNG\r\n\x1a\n",
    "image/jpeg": rb"\xff\xd8\xff",
    "image/gif": rb"GIF8[79]a",
    "image/webp": rb"RIFF.{4}WEBP",
    "image/avif": rb".{4}ftyp(avif|avis)",
    "video/mp4": rb".{4}ftyp",
    "video/webm": rb"\x1a\x45\xdf\xa3",
    "audio/mpeg": rb"ID3|\xff[\xe2-\xfb]",
    "application/pdf": rb"%PDF-",
}
"""Types that browsers show in place, with what a file of each begins with. What is of another type
is only ever downloaded, so that no page and no script runs where the storage is."""


class MediaTypeRefused(Invalid):
    """A file cannot be of type '{given}'."""

    code = "media_type_refused"
    status = 415
    hint = "Send the bytes of the file as the body, and its own type as Content-Type."


class MediaMisnamed(Invalid):
    """The file is not what it is said to be: its first bytes are not those of {content_type}."""

    code = "media_misnamed"
    hint = "Send the type that the file has."


class MediaEmpty(Invalid):
    """The file is empty."""

    code = "media_empty"


class MediaTooLarge(Invalid):
    """The file has {size_bytes} bytes; {size_bytes_max} are the most."""

    code = "media_too_large"
    status = 413


class UploadIncomplete(BulkheadError):
    """The upload ended before the file was complete."""

    code = "upload_incomplete"
    status = 400


def _file_name(text: str) -> str:
    name = unicodedata.normalize("NFC", text).strip()
    kept = "".join(it for it in name if it not in _JOINERS)
    if not kept or not kept.isprintable() or set(name) & set("/\\") or set(name) <= {"."}:
        message = "must be one printable name, without a folder"
        raise ValueError(message)
    return name


FileName = Annotated[str, Field(max_length=NAME_CHARACTERS_MAX), AfterValidator(_file_name)]
AltText = Annotated[str, Field(max_length=ALT_CHARACTERS_MAX), ShownLine]


class FileSaid(BaseModel):
    """What an upload says of its file beside the headers."""

    model_config = ConfigDict(extra="forbid")
    file_name: FileName
    alt: AltText = ""
    is_public: bool = True


class UploadBody(FileSaid):
    """A file whose bytes are put to the storage by whoever has them."""

    content_type: Annotated[str, Field(min_length=1, max_length=TYPE_CHARACTERS_MAX)]
    size_bytes: Annotated[int, Field(ge=1, strict=True)]

    def to_file(self) -> NewFile:
        """The file; raises MediaTypeRefused, MediaTooLarge."""
        kind = parse_content_type(self.content_type)
        return NewFile(self.file_name, kind, self.size_bytes, self.alt, self.is_public)


class MediaChange(BaseModel):
    """What shall be another about a file; its bytes are never."""

    model_config = ConfigDict(extra="forbid")
    file_name: FileName | None = None
    alt: AltText | None = None
    is_public: bool | None = None


class PicturesBody(BaseModel):
    """The files that a product is shown with, the first one first."""

    model_config = ConfigDict(extra="forbid")
    media: Annotated[list[UUID], Field(max_length=PICTURES_MAX)]


@dataclass(frozen=True, slots=True)
class NewFile:
    """What is said of a file before it arrives.

    Raises MediaTypeRefused, MediaEmpty, MediaTooLarge.
    """

    name: str
    content_type: str
    size_bytes: int
    alt: str = ""
    is_public: bool = True

    def __post_init__(self) -> None:
        is_type = len(self.content_type) <= TYPE_CHARACTERS_MAX and _TYPE.fullmatch(
            self.content_type
        )
        if not is_type or self.content_type in _NOT_FILES:
            raise MediaTypeRefused(given=ascii(self.content_type[:80])[1:-1])
        if self.size_bytes <= 0:
            raise MediaEmpty
        if self.size_bytes > FILE_BYTES_MAX:
            raise MediaTooLarge(size_bytes=self.size_bytes, size_bytes_max=FILE_BYTES_MAX)

    @property
    def is_shown(self) -> bool:
        """Whether browsers may show it in place."""
        return self.content_type in _SHOWN

    def verify_head(self, head: bytes) -> None:
        """Pass, or raise MediaMisnamed; `head` is the beginning, up to HEAD_BYTES of it.

        It looks at types that are shown in place: a page that calls itself a picture is none.
        """
        form = _SHOWN.get(self.content_type)
        if form is not None and not re.match(form, head, re.DOTALL):
            raise MediaMisnamed(content_type=self.content_type)


def parse_content_type(header: str) -> str:
    """The media type of a header Content-Type, without parameters."""
    return header.partition(";")[0].strip().lower()


def object_key(store: UUID, media: UUID) -> str:
    """What a file is called in the storage.

    It follows from ids alone: stores that share a bucket never meet, and no name means anything.
    """
    return f"{folder_of(store)}/media/{media}"


def staged_key(store: UUID, media: UUID) -> str:
    """What a file is called whose bytes somebody else puts, until it is complete.

    All of a bucket have one beginning, so that its owner can have what is left of them expire.
    """
    return f"stores/uploads/{store}/{media}"


def folder_of(store: UUID) -> str:
    """Below which a store keeps everything."""
    return f"stores/{store}"


def measure_image(content_type: str, head: bytes) -> tuple[int, int] | None:
    """Width and height in pixels as the head of a file says them; None where it does not.

    Sources: PNG, section 11.2.2; GIF89a, section 18; JPEG, ITU T.81 B.2.2; WebP, RFC 9649.
    """
    measure = {
        "image/png": _measure_png,
        "image/gif": _measure_gif,
        "image/jpeg": _measure_jpeg,
        "image/webp": _measure_webp,
    }.get(content_type)
    size = None if measure is None else measure(head)
    return size if size is not None and min(size) > 0 and max(size) < 2**31 else None


def _measure_png(head: bytes) -> tuple[int, int] | None:
    if head[12:16] != b"IHDR" or len(head) < 24:  # noqa: PLR2004
        return None
    return int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big")


def _measure_gif(head: bytes) -> tuple[int, int] | None:
    if len(head) < 10:  # noqa: PLR2004
        return None
    return int.from_bytes(head[6:8], "little"), int.from_bytes(head[8:10], "little")


def _measure_jpeg(head: bytes) -> tuple[int, int] | None:
    at = 2
    while at + 9 <= len(head) and head[at] == 0xFF:  # noqa: PLR2004
        marker, size = head[at + 1], int.from_bytes(head[at + 2 : at + 4], "big")
        if 0xC0 <= marker <= 0xCF and marker not in {0xC4, 0xC8, 0xCC}:  # noqa: PLR2004
            height, width = head[at + 5 : at + 7], head[at + 7 : at + 9]
            return int.from_bytes(width, "big"), int.from_bytes(height, "big")
        at += 2 + max(size, 2)
    return None


def _measure_webp(head: bytes) -> tuple[int, int] | None:
    if len(head) < 30:  # noqa: PLR2004
        return None
    match head[12:16]:
        case b"VP8X":
            width, height = head[24:27], head[27:30]
            return int.from_bytes(width, "little") + 1, int.from_bytes(height, "little") + 1
        case b"VP8L":
            bits = int.from_bytes(head[21:25], "little")
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        case b"VP8 ":
            sizes = int.from_bytes(head[26:28], "little"), int.from_bytes(head[28:30], "little")
            return sizes[0] & 0x3FFF, sizes[1] & 0x3FFF
    return None
