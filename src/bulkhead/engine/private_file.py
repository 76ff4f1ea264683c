"""Small files that only we may read, changed by several processes without losing anything.

A file is written whole, under a lock, synced and renamed into place, so that a reader sees the
old text or the new one and a crash loses neither.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

Stamp = tuple[int, int, int]
ABSENT: Stamp = (0, 0, 0)


def write_private(path: Path, text: str) -> None:
    """Replace the file `path`, durable when this returns; call it under `locked`."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep other processes from changing `path` inside the block; makes its folder."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(path.with_name(f".{path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def stamp_of(path: Path) -> Stamp:
    """What tells whether `path` was replaced since; ABSENT where there is no file."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return ABSENT
    return (status.st_ino, status.st_mtime_ns, status.st_size)
