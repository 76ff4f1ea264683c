from dataclasses import replace

import pytest
from tests.integration.engine.references.rows import add_lines, run
from tests.integration.engine.references.shop_application import GIFTS, LINES, SHOP, TOPOLOGY

from bulkhead.engine.connections.router import Placement, Router
from bulkhead.engine.drivers.protocol import DatabaseSpec, Login
from bulkhead.engine.ids import new_id
from bulkhead.engine.migrations.files import MigrationSet
from bulkhead.engine.monitoring.doctor import diagnose
from bulkhead.engine.monitoring.findings import Finding, Level, worst
from bulkhead.engine.monitoring.invariant import Invariant, Violation
from bulkhead.engine.references.sweep import sweep_reference
from bulkhead.engine.references.tombstone import place_fences
from bulkhead.engine.system import System, migration_sets
from bulkhead.engine.topology import Column


def sets_of(database: str) -> list[MigrationSet]:
    return migration_sets(SHOP, database)


async def examine(router: Router) -> list[Finding]:
    return await diagnose(router, TOPOLOGY, sets_of=sets_of)


def of_code(findings: list[Finding], code: str) -> list[Finding]:
    return [finding for finding in findings if finding.code == code]


async def sweep_all(router: Router) -> None:
    for reference in TOPOLOGY.references:
        await sweep_reference(router, TOPOLOGY, reference)


async def test_a_sound_application_has_no_error_and_no_warning(router: Router) -> None:
    await sweep_all(router)
    findings = await examine(router)
    assert worst(findings) is Level.INFO, findings
    assert {finding.code for finding in findings if finding.level is Level.OK} >= {
        "database_reachable",
        "roles_safe",
        "migrations_current",
        "flows_moving",
        "reference_resolves",
        "invariant_holds",
    }
    assert [each.subject for each in of_code(findings, "reference_unindexed")] == [GIFTS.name]


async def test_a_database_that_is_away_is_reported_and_the_others_are_examined(
    system: System,
) -> None:
    sales = next(p for p in system.router.placements if p.database == "sales")
    nowhere = Placement("catalog", sales.driver, DatabaseSpec("nowhere"))
    router = Router("shop", (nowhere, sales))
    try:
        findings = await examine(router)
    finally:
        await router.close()
    (away,) = of_code(findings, "database_unreachable")
    assert (away.subject, away.level) == ("catalog", Level.ERROR)
    assert away.remedy
    assert [each.subject for each in of_code(findings, "migrations_current")] == ["sales"]
    assert of_code(findings, "invariant_holds") == []


async def test_a_login_that_could_pass_over_policies_is_reported(system: System) -> None:
    placement = system.router.placements[0]
    admin = await placement.driver.connect(placement.spec, Login.ADMIN, timeout_s=5)
    client = placement.spec.login(Login.CLIENT)
    try:
        await admin.execute(f'grant service_role to "{client}"')
        (unsafe,) = of_code(await examine(system.router), "role_unsafe")
    finally:
        await admin.execute(f'revoke service_role from "{client}"')
        await admin.close()
    assert unsafe.level is Level.ERROR
    assert "service_role" in unsafe.detail


@pytest.mark.parametrize("code", ["migrations_pending", "migrations_changed", "migrations_unknown"])
async def test_a_database_that_does_not_fit_its_files_is_reported(
    router: Router, code: str
) -> None:
    def other_sets(database: str) -> list[MigrationSet]:
        *others, own = sets_of(database)
        first = own.migrations[0]
        changed = {
            "migrations_pending": (first, replace(first, version=2, name="more")),
            "migrations_changed": (replace(first, checksum="other"),),
            "migrations_unknown": (),
        }
        return [*others, replace(own, migrations=changed[code])]

    findings = await diagnose(router, TOPOLOGY, sets_of=other_sets)
    assert {each.subject for each in of_code(findings, code)} == {"catalog", "sales"}


async def test_dead_letters_and_late_events_are_reported(router: Router) -> None:
    for handler, dead in (("shop.mail", "now()"), ("shop.audit", "null")):
        event = new_id()
        await run(
            router,
            "catalog",
            "insert into bulkhead.events (id, type, key, payload, occurred_at)"
            " values ($1, 'x', 'k', '{}', now() - interval '1 hour')",
            event,
        )
        await run(
            router,
            "catalog",
            "insert into bulkhead.deliveries (event_id, handler, key, dead_at)"
            f" values ($1, $2, 'k', {dead})",
            event,
            handler,
        )
    findings = await examine(router)
    assert "shop.mail" in of_code(findings, "dead_letters")[0].detail
    assert "shop.audit" in of_code(findings, "events_late")[0].detail


async def test_a_saga_that_waits_for_a_person_is_reported(router: Router) -> None:
    await run(
        router,
        "sales",
        "insert into bulkhead.sagas"
        " (id, name, state, input, request_hash, leased_until, deadline_at)"
        " values ($1, 'buy', 'needs_human', '{}', '', now(), now())",
        new_id(),
    )
    (found,) = of_code(await examine(router), "sagas_need_human")
    assert found.level is Level.WARNING


async def test_orphans_are_reported_with_what_to_do(router: Router) -> None:
    await add_lines(router, [new_id()])
    (broken,) = of_code(await examine(router), "invariant_broken")
    assert broken.subject == "I18"
    await sweep_all(router)
    findings = await examine(router)
    (orphans,) = of_code(findings, "orphans_open")
    assert orphans.subject == LINES.name
    assert "--dry-run" in orphans.remedy
    assert of_code(findings, "invariant_broken") == []


async def test_an_invariant_of_the_application_is_checked_too(router: Router) -> None:
    async def fail(_: Router) -> list[Violation]:
        return [Violation("sales.lines 1", "is blue")]

    findings = await diagnose(router, TOPOLOGY, invariants=[Invariant("X1", "none is blue", fail)])
    (broken,) = of_code(findings, "invariant_broken")
    assert (broken.subject, "is blue" in broken.detail) == ("X1", True)
    assert len(of_code(findings, "invariant_holds")) == 3


async def test_a_sweep_long_ago_is_reported(router: Router) -> None:
    await sweep_all(router)
    await run(
        router,
        "sales",
        "update bulkhead.reference_sweeps set last_complete_at = now() - interval '3 days'"
        " where reference = $1",
        LINES.name,
    )
    (old,) = of_code(await examine(router), "reference_sweep_old")
    assert old.subject == LINES.name


async def test_a_table_without_its_triggers_is_reported(system: System, router: Router) -> None:
    placement = next(p for p in system.router.placements if p.database == "catalog")
    admin = await placement.driver.connect(placement.spec, Login.ADMIN, timeout_s=5)
    try:
        await admin.execute("alter table public.numbers disable trigger user")
        findings = await examine(router)
    finally:
        await admin.execute("alter table public.numbers enable trigger user")
        await admin.close()
    assert '"numbers"' in of_code(findings, "tombstone_trigger_missing")[0].detail
    assert '"numbers"' in of_code(findings, "fence_trigger_missing")[0].detail


async def test_a_reference_that_cannot_be_emptied_is_reported(
    system: System, router: Router
) -> None:
    placement = next(p for p in system.router.placements if p.database == "sales")
    admin = await placement.driver.connect(placement.spec, Login.ADMIN, timeout_s=5)
    try:
        await admin.execute("alter table public.gifts alter column product_id set not null")
        (found,) = of_code(await examine(router), "reference_contradicted")
    finally:
        await admin.execute("alter table public.gifts alter column product_id drop not null")
        await admin.close()
    assert found.subject == GIFTS.name


async def test_a_deletion_that_never_finished_is_reported(router: Router) -> None:
    await place_fences(router, Column.parse("catalog.numbers.id"), ["1"])
    assert of_code(await examine(router), "fences_left") == []
    await run(router, "catalog", "update bulkhead.deletion_fences set placed_at = 'epoch'")
    assert len(of_code(await examine(router), "fences_left")) == 1
