"""django-tenants migrating its schemas, in a process of its own; called by fleet_migration.py.

Turns: `make` so many tenants at the first migration, `idle` migrates with nothing to do, `up` adds
the second migration to each. Prints the seconds that it took.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from time import perf_counter
from typing import Any

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
FIRST = """
import uuid
from django.db import migrations, models

class Migration(migrations.Migration):
    initial = True
    dependencies = []
    operations = [
        migrations.CreateModel("Identity", [("tenant", models.UUIDField(primary_key=True))]),
        migrations.CreateModel("Note", [
            ("id", models.UUIDField(primary_key=True, default=uuid.uuid4)),
            ("owner", models.UUIDField()),
            ("body", models.TextField()),
            ("price", models.DecimalField(max_digits=12, decimal_places=2, null=True)),
            ("details", models.JSONField(null=True)),
        ]),
    ]
"""
SECOND = """
from django.db import migrations, models

class Migration(migrations.Migration):
    dependencies = [("store", "0001_initial")]
    operations = [
        migrations.AddField("Note", "color", models.TextField(default="red")),
        migrations.CreateModel("Tag", [
            ("id", models.IntegerField(primary_key=True)),
            ("name", models.TextField(unique=True)),
        ]),
        migrations.RunSQL("insert into store_tag values (1, 'first'), (2, 'second')"),
        migrations.AddIndex("Note", models.Index(fields=["color"], name="notes_color")),
    ]
"""


def write_project(folder: Path) -> None:
    """Two applications: who the tenants are, and what each of them has."""
    for name in ("customers", "store/migrations"):
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").touch()
    (folder / "store" / "__init__.py").touch()
    (folder / "store" / "models.py").touch()
    (folder / "store" / "migrations" / "0001_initial.py").write_text(FIRST)
    (folder / "customers" / "models.py").write_text(MODELS)


def configure(given: dict[str, Any]) -> None:
    """Set Django up as its manual and that of django-tenants have it."""
    database = {name.upper(): given[name] for name in ("host", "port", "user", "password", "name")}
    database["ENGINE"] = "django_tenants.postgresql_backend"
    settings.configure(
        DATABASES={"default": database},
        DATABASE_ROUTERS=["django_tenants.routers.TenantSyncRouter"],
        INSTALLED_APPS=["django_tenants", "customers", "django.contrib.contenttypes", "store"],
        SHARED_APPS=["django_tenants", "customers", "django.contrib.contenttypes"],
        TENANT_APPS=["store"],
        TENANT_MODEL="customers.Customer",
        TENANT_DOMAIN_MODEL="customers.Domain",
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        LOGGING_CONFIG=None,
    )
    django.setup()


def main(given: dict[str, Any]) -> None:
    """Take one turn."""
    folder = Path(given["folder"])
    if given["turn"] == "make":
        write_project(folder)
    if given["turn"] == "up":
        (folder / "store" / "migrations" / "0002_more.py").write_text(SECOND)
    sys.path.insert(0, str(folder))
    configure(given)
    from django_tenants.utils import get_tenant_model  # noqa: PLC0415 - reads the settings

    began_s = perf_counter()
    if given["turn"] == "make":
        call_command("migrate_schemas", shared=True, verbosity=0, run_syncdb=True)
        for number in range(given["tenants"]):
            get_tenant_model()(schema_name=f"t{number}").save(verbosity=0)
    else:
        call_command("migrate_schemas", tenant=True, verbosity=0)
    print(perf_counter() - began_s)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
