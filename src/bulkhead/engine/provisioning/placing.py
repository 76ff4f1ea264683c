"""The first step: a place for the database, and the database there."""

from __future__ import annotations

import logging

from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.connections.transaction import Transaction
from bulkhead.engine.drivers.errors import DatabaseForeign, TemplateUnusable
from bulkhead.engine.drivers.protocol import Dialect, Provider
from bulkhead.engine.fleet.model import ServerKind, TenantId, TenantPlace
from bulkhead.engine.fleet.placement import Wish, choose_server
from bulkhead.engine.fleet.registry import add_tenant, find_tenant
from bulkhead.engine.provisioning.job import JobMode, TenantProvisioned
from bulkhead.engine.provisioning.spares import (
    can_clone,
    physical_name,
    spec_of_tenant,
)
from bulkhead.engine.provisioning.work import STATEMENTS, TEMPLATE, WARM, Work

log = logging.getLogger(__name__)


async def open_database(work: Work) -> None:
    """Have a place in the registry, then a database there that can be reached.

    Raises NoServerFits, TenantProvisioned, and whatever keeps a server from answering.
    """
    job = work.job
    if job.database is None:
        await (_place(work) if job.mode is JobMode.CREATE else _note_outside(work))
    if job.mode is JobMode.CONNECT:
        await work.owner()
    elif work.job.source != WARM:
        await _create(work)


async def close_database(work: Work) -> None:
    """Drop the database with its logins, where it is the job's own to drop."""
    job = work.job
    if job.server is None or job.database is None:
        return
    databases = work.shop.databases
    server = await databases.server(job.server)
    driver = await databases.driver(server)
    try:
        await databases.drop(server, spec_of_tenant(work.schema, driver.dialect, job.database))
    except DatabaseForeign as error:
        log.warning("not dropped: %s", error)


async def _place(work: Work) -> None:
    """Choose a server, take a database that is ready there or think of a name, all at once."""
    job = work.job
    is_mysql = job.kind is ServerKind.MYSQL
    async with work.shop.registry.transaction(SERVICE) as tx:
        await _verify_new(tx, job.tenant)
        server = await choose_server(tx, Wish(job.kind, job.wishes, tenant=job.tenant))
        name = await work.spares.claim_warm(tx, server)
        source = WARM if name is not None else TEMPLATE if can_clone(server) else STATEMENTS
        if name is not None:
            work.connect_ahead(server, name)
        name = name or physical_name(job.fleet, job.id)
        dialect = Dialect.MYSQL if is_mysql else Dialect.POSTGRESQL
        spec = spec_of_tenant(work.schema, dialect, name)
        place = TenantPlace(
            job.kind, server.name, name, spec.role_prefix, spec.login_prefix, sealed_connection=None
        )
        await add_tenant(tx, job.tenant, job.fleet, place)
        await work.place(tx, server.name, name, source)
    work.shop.databases.learn(server)
    work.placed(server.name, name, source)


async def _note_outside(work: Work) -> None:
    job = work.job
    config = await work.config()
    async with work.shop.registry.transaction(SERVICE) as tx:
        await _verify_new(tx, job.tenant)
        place = TenantPlace(job.kind, None, config.database, None, None, sealed_connection=None)
        await add_tenant(tx, job.tenant, job.fleet, place)
        await work.place(tx, None, config.database, STATEMENTS)
    work.placed(None, config.database, STATEMENTS)


async def _verify_new(tx: Transaction, tenant: TenantId) -> None:
    if await find_tenant(tx, tenant) is not None:
        raise TenantProvisioned(tenant=tenant)


async def _create(work: Work) -> None:
    """Clone the template, or make an empty database.

    Where a provider makes it, nobody waits for that: raises DatabaseComing, to come back later.
    """
    job = work.job
    assert job.server is not None, "placed before"
    assert job.database is not None, "placed before"
    databases = work.shop.databases
    server = await databases.server(job.server)
    driver = await databases.driver(server)
    template = await work.spares.template(server) if job.source == TEMPLATE else None
    spec = spec_of_tenant(work.schema, driver.dialect, job.database, template)
    if isinstance(driver, Provider):
        await driver.begin_database(spec)
    try:
        await driver.ensure_database(spec)
    except TemplateUnusable:
        if template is None:
            raise
        another = await work.spares.another_template(server, template)
        await driver.ensure_database(
            spec_of_tenant(work.schema, driver.dialect, job.database, another)
        )
