"""Short ways to fill and read the shop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.connections.router import Router
from bulkhead.engine.ids import new_id


async def empty(router: Router) -> None:
    for database in router:
        async with database.transaction(SERVICE) as tx:
            names = await tx.fetchval(
                "select string_agg(format('%I.%I', schemaname, tablename), ', ') from pg_tables"
                " where schemaname in ('public', 'bulkhead')"
                " and has_table_privilege(format('%I.%I', schemaname, tablename), 'truncate')"
            )
            await tx.execute(f"truncate {names}")


async def run(router: Router, database: str, sql: str, *args: object) -> str:
    async with router.database(database).transaction(SERVICE) as tx:
        return await tx.execute(sql, *args)


async def value(router: Router, database: str, sql: str, *args: object) -> Any:
    async with router.database(database).transaction(SERVICE, read_only=True) as tx:
        return await tx.fetchval(sql, *args)


async def rows(router: Router, database: str, sql: str, *args: object) -> list[tuple[Any, ...]]:
    async with router.database(database).transaction(SERVICE, read_only=True) as tx:
        return [tuple(row) for row in await tx.fetch(sql, *args)]


async def add_products(router: Router, count: int) -> list[UUID]:
    ids = [new_id() for _ in range(count)]
    await run(
        router,
        "catalog",
        "insert into public.products (id) select id from unnest($1::uuid[]) as id",
        ids,
    )
    return ids


async def add_lines(router: Router, products: Sequence[UUID | None], first: int = 1) -> None:
    await run(
        router,
        "sales",
        "insert into public.lines (id, product_id)"
        " select $1 + n - 1, id from unnest($2::uuid[]) with ordinality as p (id, n)",
        first,
        products,
    )


async def add_gifts(router: Router, products: Sequence[UUID]) -> None:
    await run(
        router,
        "sales",
        "insert into public.gifts (shelf, slot, product_id)"
        " select 'shelf ' || n % 3, n, id from unnest($1::uuid[]) with ordinality as p (id, n)",
        products,
    )


async def open_violations(router: Router, reference: str) -> list[tuple[str, str]]:
    found = await rows(
        router,
        "sales",
        "select target_key, source_key from bulkhead.reference_violations"
        " where reference = $1 and resolved_at is null order by source_key",
        reference,
    )
    return [(target, source) for target, source in found]
