"""`bulkhead policy`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from bulkhead.cli.output import EXIT_FINDINGS, Output
from bulkhead.cli.session import application_option, run_opened
from bulkhead.cli.verb import Noun

if TYPE_CHECKING:
    from bulkhead.engine.connections.claims import Claims
    from bulkhead.engine.system import System


@click.group(cls=Noun)
def policy() -> None:
    """Lint row level security and explain what a user sees."""


@policy.command("lint", examples=["bulkhead policy lint -d orders"])
@application_option
@click.option("-d", "--database", help="Only this database.")
@click.option("--mute", multiple=True, metavar="KEY", help="Accept the finding with this key.")
@click.pass_obj
def lint_policies(
    output: Output, *, application: str, database: str | None, mute: tuple[str, ...]
) -> int:
    """Look for holes in policies, grants, functions and roles; exit code 7 for an error."""
    from bulkhead.engine.connections.admin import administer
    from bulkhead.engine.schema.lint.findings import lint

    async def work(system: System) -> list[dict[str, Any]]:
        rows = []
        for each in system.router:
            if database not in (None, each.name):
                continue
            declared = system.application.topology.database(each.name)
            async with administer(each) as connection:
                found = await lint(connection, declared, muted=mute)
            rows += [
                {
                    "database": each.name,
                    "level": finding.level.value,
                    "rule": finding.name,
                    "object": finding.object,
                    "detail": finding.detail,
                    "remedy": finding.remediation,
                    "key": finding.cache_key,
                }
                for finding in found
            ]
        return rows

    rows = run_opened(output, application, work)
    if rows or output.as_json:
        columns = ("database", "level", "rule", "object", "detail")
        output.rows((*columns, "remedy", "key") if output.as_json else columns, rows)
    else:
        output.note("No findings.")
    return EXIT_FINDINGS if any(row["level"] == "error" for row in rows) else 0


@policy.command("explain", examples=["bulkhead policy explain orders --as ada@example.com"])
@application_option
@click.argument("table")
@click.option("--as", "who", default="anon", show_default=True, metavar="USER",
              help="anon, service, an e-mail address or a user id.")  # fmt: skip
@click.pass_obj
def explain_policies(output: Output, *, application: str, table: str, who: str) -> None:
    """Say which policies of TABLE apply to a user, and how many of its rows they may see."""
    from bulkhead.engine.connections.admin import administer
    from bulkhead.engine.schema.explain import explain

    async def work(system: System) -> Any:  # noqa: ANN401
        home = system.database(system.application.topology.home(table).name)
        claims = await _claims(system, who)
        async with administer(home) as connection:
            return home.name, await explain(connection, table, claims)

    name, found = run_opened(output, application, work)
    output.data({"database": name, **found.to_json()}, text=found.to_text())


async def _claims(system: System, who: str) -> Claims:
    from uuid import UUID

    from bulkhead.engine.connections.claims import ANON, SERVICE, user
    from bulkhead.engine.errors import Invalid

    if who in {"anon", "service"}:
        return ANON if who == "anon" else SERVICE
    if "@" in who and system.application.people is not None:
        from bulkhead.capabilities.identity import sign_in_as

        people = system.application.people(system)
        return people.verify((await sign_in_as(people, who)).access_token)  # type: ignore[no-any-return]
    try:
        return user(UUID(who))
    except ValueError:
        raise Invalid(
            reason=f"'{who}' is neither anon, service, an address nor a user id"
        ) from None
