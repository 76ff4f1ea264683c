"""What every error code means, as a reader of the API wants to know it."""

import importlib
import pkgutil
from collections.abc import Iterator
from typing import Any

import bulkhead
from bulkhead.engine.errors import BulkheadError


def describe_errors() -> list[dict[str, Any]]:
    """All errors of the loaded modules by status and code, messages with their placeholders."""
    return [
        {
            "code": error.code,
            "status": error.status,
            "message": message_of(error),
            "hint": error.hint,
            "retry_after_s": error.retry_after_s,
        }
        for error in find_errors()
    ]


def load_errors() -> list[type[BulkheadError]]:
    """All error classes of the package, as `find_errors`; imports every module."""
    for module in pkgutil.walk_packages(bulkhead.__path__, "bulkhead."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    return find_errors()


def find_errors() -> list[type[BulkheadError]]:
    """The error classes of the loaded modules of this package, by status, code and name.

    One that tells again what another said (code and message of its instances) is left out.
    """
    found = {
        error
        for error in _family(BulkheadError)
        if error.__module__.startswith("bulkhead.")
        and ("code" in vars(error) or "message" not in vars(error))
    }
    return sorted(found, key=lambda error: (error.status, error.code, error.__qualname__))


def message_of(error: type[BulkheadError]) -> str:
    """The first paragraph of the docstring, which is the message of the error."""
    return " ".join((error.__doc__ or "").split("\n\n")[0].split())


def _family(error: type[BulkheadError]) -> Iterator[type[BulkheadError]]:
    yield error
    for child in error.__subclasses__():
        yield from _family(child)
