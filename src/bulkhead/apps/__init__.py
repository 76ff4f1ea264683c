"""The applications that come with Bulkhead; a folder each, of one shape."""

from __future__ import annotations

import importlib
import importlib.util
import re
from typing import TYPE_CHECKING

from bulkhead.engine.errors import NotFound

if TYPE_CHECKING:
    from sqlalchemy import MetaData

    from bulkhead.engine.application import Application

NAMES = ("commerce", "store_platform")

_DATABASE = re.compile(r"[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*")


class ApplicationUnknown(NotFound):
    """There is no application '{name}'; there are {known}."""

    code = "application_unknown"


class SchemaUndeclared(NotFound):
    """There is no schema '{name}' that is declared for several dialects."""

    code = "schema_undeclared"
    hint = "Name the application and the database, for example: store_platform.store"


def load_application(name: str) -> Application:
    """Import the application called `name`; raises ApplicationUnknown."""
    if name not in NAMES:
        raise ApplicationUnknown(name=name, known=", ".join(NAMES))
    module = importlib.import_module(f"bulkhead.apps.{name}.application")
    application: Application = module.APPLICATION
    return application


def load_schema(name: str) -> MetaData:
    """The tables that `<application>.<database>` declares for all dialects.

    Raises SchemaUndeclared; most databases are migrated on PostgreSQL only and declare none.
    """
    module = f"bulkhead.apps.{name}.schema"
    if _DATABASE.fullmatch(name) is None or not _is_module(module):
        raise SchemaUndeclared(name=name)
    metadata: MetaData = importlib.import_module(module).METADATA
    return metadata


def _is_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False
