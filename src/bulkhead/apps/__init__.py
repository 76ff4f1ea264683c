"""The applications that come with Bulkhead; a folder each, of one shape."""

import importlib

from bulkhead.engine.application import Application
from bulkhead.engine.errors import NotFound

NAMES = ("commerce",)


class ApplicationUnknown(NotFound):
    """There is no application '{name}'; there are {known}."""

    code = "application_unknown"


def load_application(name: str) -> Application:
    """Import the application called `name`; raises ApplicationUnknown."""
    if name not in NAMES:
        raise ApplicationUnknown(name=name, known=", ".join(NAMES))
    module = importlib.import_module(f"bulkhead.apps.{name}.application")
    application: Application = module.APPLICATION
    return application
