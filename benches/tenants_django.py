"""django-tenants as the benchmarks have it: a process of its own that makes tenants, one by one.

A tenant is a schema with the tables that a store has: from models that Django's `inspectdb` reads
from a database that has them, by the migration that `makemigrations` makes of these. So it has the
columns, keys and unique constraints, but neither checks nor policies. With `clone` tenants are
copies of such a schema by django-tenants' own `clone_schema`.

    python benches/tenants_django.py <json>, called by provisioning.py

Makes a tenant for each line that it reads, and answers with the seconds that it took.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import sys
from pathlib import Path
from time import perf_counter
from typing import Any, TextIO

import django
from django.conf import settings
from django.core.management import call_command

MODELS = """
from django.db import models
from django_tenants.models import DomainMixin, TenantMixin

class Customer(TenantMixin):
    auto_create_schema = True

class Domain(DomainMixin):
    pass
"""


def write_project(folder: Path) -> None:
    """Two applications: who the tenants are, and what each of them has."""
    for name in ("customers", "store/migrations"):
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").touch()
    (folder / "store" / "__init__.py").touch()
    (folder / "store" / "models.py").touch()
    (folder / "customers" / "models.py").write_text(MODELS)


def write_models(folder: Path) -> None:
    """Let Django say what models the tables would have; in a process that ends with it."""
    told = io.StringIO()
    call_command("inspectdb", stdout=told)
    models = told.getvalue().replace("managed = False", "managed = True")
    models = models.replace("models.DO_NOTHING", "models.CASCADE")
    # A key of several references, which `inspectdb` writes but the checks refuse: an id instead.
    models = re.sub(r".*CompositePrimaryKey.*\n", "", models)
    (folder / "store" / "models.py").write_text(models)


def configure(given: dict[str, Any]) -> None:
    """Set Django up as its manual and that of django-tenants have it."""
    database = {name.upper(): given[name] for name in ("host", "port", "user", "password", "name")}
    database["ENGINE"] = "django_tenants.postgresql_backend"
    chosen: dict[str, Any] = {
        "DATABASES": {"default": database},
        "DATABASE_ROUTERS": ["django_tenants.routers.TenantSyncRouter"],
        "INSTALLED_APPS": ["django_tenants", "customers", "django.contrib.contenttypes", "store"],
        "SHARED_APPS": ["django_tenants", "customers", "django.contrib.contenttypes"],
        "TENANT_APPS": ["store"],
        "TENANT_MODEL": "customers.Customer",
        "TENANT_DOMAIN_MODEL": "customers.Domain",
        "DEFAULT_AUTO_FIELD": "django.db.models.BigAutoField",
        "LOGGING_CONFIG": None,
    }
    if given["clone"]:
        chosen |= {"TENANT_BASE_SCHEMA": "base", "TENANT_CREATION_FAKES_MIGRATIONS": True}
    settings.configure(**chosen)
    django.setup()


def make_tenants(given: dict[str, Any], told: TextIO) -> None:
    """Make a tenant for each line that is read, and say how many seconds it took."""
    from customers.models import Customer  # noqa: PLC0415 - there is none before the set-up

    call_command("migrate_schemas", shared=True, verbosity=0)
    call_command("migrate_schemas", shared=True, run_syncdb=True, verbosity=0)
    if given["clone"]:
        settings.TENANT_CREATION_FAKES_MIGRATIONS = False
        Customer(schema_name="base").save(verbosity=0)
        settings.TENANT_CREATION_FAKES_MIGRATIONS = True
    for number, _ in enumerate(sys.stdin):
        began_s = perf_counter()
        Customer(schema_name=f"{given['prefix']}{number}").save(verbosity=0)
        print(perf_counter() - began_s, file=told, flush=True)


def run(given: dict[str, Any], folder: str, told: TextIO) -> None:
    """One of three turns: read the models, make the migration, make the tenants."""
    sys.path.insert(0, folder)
    path = Path(folder)
    match given["turn"]:
        case "inspect":
            write_project(path)
            configure(given)
            write_models(path)
        case "migration":
            configure(given)
            call_command("makemigrations", "store", verbosity=0)
        case _:
            configure(given)
            make_tenants(given, told)


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    told = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):
        run(given, given["folder"], told)
