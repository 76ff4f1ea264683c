"""A small schema that has a bit of everything, for both dialects."""

import sqlalchemy as sa

from bulkhead.engine.extract.access import TableAccess, TablePolicy
from bulkhead.engine.extract.portable import Id
from bulkhead.engine.fleet.connection import TenantConnection
from bulkhead.engine.provisioning.schema import FleetSchema, Newcomer

METADATA = sa.MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
        "ix": "%(table_name)s_%(column_0_N_name)s_idx",
        "ck": "%(table_name)s_%(constraint_name)s",
    }
)
IDENTITY = sa.Table(
    "_identity",
    METADATA,
    sa.Column("tenant_id", Id(), primary_key=True),
)
SHELVES = sa.Table(
    "shelves",
    METADATA,
    sa.Column("id", Id(), primary_key=True),
    sa.Column("name", sa.String(255), nullable=False, unique=True),
    sa.CheckConstraint(sa.column("name") != "100%s", name="name"),
    info={
        "access": TableAccess(
            policies=(TablePolicy("shelves_read", "select", ("anon",), using="true"),),
            grants={"anon": ("select",)},
        )
    },
)
BOOKS = sa.Table(
    "books",
    METADATA,
    sa.Column("id", Id(), primary_key=True),
    sa.Column("shelf", Id(), sa.ForeignKey("shelves.id", ondelete="CASCADE"), nullable=False),
    sa.Column("title", sa.String(200), nullable=False, server_default="", index=True),
    sa.Column("price", sa.Numeric(12, 2)),
)
TABLES = sorted(METADATA.tables)


async def seed(connection: TenantConnection, newcomer: Newcomer) -> None:
    """A shelf that is called as the tenant is."""
    await connection.execute(SHELVES.insert().values(id=newcomer.id, name=newcomer.label))


def schema_of(fleet: str, version: int = 1) -> FleetSchema:
    """The schema, for a fleet of its own."""
    return FleetSchema(fleet, METADATA, version, seed)
