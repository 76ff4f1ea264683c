"""`bulkhead status`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from bulkhead.cli.output import EXIT_UNREACHABLE, Output
from bulkhead.cli.session import Running, running_settings
from bulkhead.cli.verb import Verb

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bulkhead.engine.application import Application
    from bulkhead.engine.settings import Settings
    from bulkhead.gateway.keyring import ApiKeyRing

TIMEOUT_S = 5.0


@click.command(
    cls=Verb,
    examples=[
        "bulkhead status",
        "bulkhead status -o env",
    ],
)
@click.option(
    "-o",
    "--output",
    "form",
    type=click.Choice(["text", "json", "env"]),
    default="text",
    show_default=True,
    help="env is the environment of a front end, secret keys included.",
)
@click.option("--reveal", is_flag=True, help="Show secret keys too.")
@click.pass_obj
def status(output: Output, *, form: str, reveal: bool) -> int:
    """Show what runs, where, how its databases answer, and how clients reach them.

    Paste the environment into a front end that was written for Supabase, or source it:
    bulkhead status -o env >> .env.local
    """
    settings = running_settings(output)
    running = Running.find(settings)
    if form == "env":
        click.echo(_environment(settings))
        if running is None:
            output.note("Nothing is running. Start it:  bulkhead up")
        return 0 if running is not None else EXIT_UNREACHABLE
    if form == "json":
        output = Output(as_json=True, quiet=output.quiet, home=output.home)
    apis = [
        api
        for application, ring in _served(settings)
        for api in _apis(application, ring, settings, reveal=reveal)
    ]
    if running is None:
        told = {"running": False, "home": str(settings.home), "apis": apis}
        output.data(told, text="Nothing is running.")
        output.note("Start it:  bulkhead up")
        return EXIT_UNREACHABLE
    ready, fleets = _ask(running.url), _ask_fleets(running.url)
    value = {
        "running": True,
        "url": running.url,
        "pid": running.pid,
        **ready,
        "fleets": fleets,
        "apis": apis,
    }
    output.data(value, text=_text(settings, running, value))
    return 0 if ready.get("status") == "ready" else EXIT_UNREACHABLE


def _served(settings: Settings) -> Iterator[tuple[Application, ApiKeyRing]]:
    from bulkhead.apps import NAMES, load_application
    from bulkhead.gateway.keyring import open_keyring

    for name in NAMES:
        yield load_application(name), open_keyring(name, settings)


def _environment(settings: Settings) -> str:
    from bulkhead.gateway.environment import render_environment

    return "\n\n".join(
        render_environment(application.topology, ring, settings.origin)
        for application, ring in _served(settings)
    )


def _apis(
    application: Application, ring: ApiKeyRing, settings: Settings, *, reveal: bool
) -> Iterator[dict[str, str]]:
    """How clients reach each database."""
    from bulkhead.engine.connections.claims import Role
    from bulkhead.gateway.environment import url_of
    from bulkhead.gateway.keys import KeyKind

    for database in application.topology.databases:
        if not database.api.enabled:
            continue
        keys = ring.keys(database.name)
        secret = keys.current(KeyKind.SECRET, Role.SERVICE)
        yield {
            "database": f"{application.name}.{database.name}",
            "url": url_of(application.name, database.name, settings.origin),
            "publishable_key": keys.current(KeyKind.PUBLISHABLE, Role.ANON),
            "secret_key": secret if reveal else "hidden",
        }


def _ask(url: str) -> dict[str, Any]:
    import json
    from urllib.error import HTTPError, URLError
    from urllib.request import urlopen

    try:
        with urlopen(f"{url}/readyz", timeout=TIMEOUT_S) as answer:  # noqa: S310 - our own server
            ready: dict[str, Any] = json.load(answer)
    except HTTPError as error:
        ready = json.load(error)
    except (URLError, OSError):
        return {"status": "unreachable", "databases": {}}
    return ready


def _ask_fleets(url: str) -> dict[str, dict[str, Any]]:
    """What the server measures of each fleet; nothing where it cannot be asked."""
    from urllib.error import URLError
    from urllib.request import urlopen

    try:
        with urlopen(f"{url}/metrics", timeout=TIMEOUT_S) as answer:  # noqa: S310 - our own server
            text = answer.read().decode()
    except (URLError, OSError):
        return {}
    return read_fleets(text)


def read_fleets(text: str) -> dict[str, dict[str, Any]]:
    """The figures of fleets in Prometheus' text, by `application.fleet`."""
    from prometheus_client.parser import text_string_to_metric_families

    fleets: dict[str, dict[str, Any]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = sample.labels
            if "fleet" not in labels:
                continue
            fleet = fleets.setdefault(f"{labels['application']}.{labels['fleet']}", {"tenants": {}})
            value = int(sample.value)
            if sample.name == "bulkhead_fleet_tenants":
                fleet["tenants"][labels["state"]] = value
            elif sample.name in _SUMS:
                key = _SUMS[sample.name]
                fleet[key] = fleet.get(key, 0) + value
    return fleets


_SUMS = {
    "bulkhead_provisioning_jobs": "jobs",
    "bulkhead_provisioning_stranded": "jobs_stranded",
    "bulkhead_fleet_migrations_due": "migrations_due",
    "bulkhead_fleet_migrations_failed": "migrations_failed",
    "bulkhead_fleet_moves_open": "moves",
    "bulkhead_fleet_connections": "connections",
    "bulkhead_fleet_waiting": "waiting",
    "bulkhead_fleet_breakers_open": "unreachable",
}
"""What is shown of a fleet, added up over servers and states."""


def _fleet_line(name: str, fleet: dict[str, Any]) -> str:
    tenants = [f"{count} {state}" for state, count in fleet["tenants"].items() if count]
    rest = [
        f"{fleet.get(key, 0)} {key.replace('_', ' ')}"
        for key in _SUMS.values()
        if fleet.get(key) or key == "connections"
    ]
    return f"  {name:22} {', '.join(tenants) or 'no tenants'} · {', '.join(rest)}"


def _text(settings: Settings, running: Running, value: dict[str, Any]) -> str:
    ready, apis = value, value["apis"]
    lines = [
        f"url      {running.url}",
        f"pid      {running.pid}",
        f"home     {settings.home}",
        f"status   {ready['status']}",
    ]
    for name, answer in ready.get("databases", {}).items():
        latency = answer.get("latency_ms")
        detail = f"{latency} ms" if latency is not None else answer.get("code") or ""
        lines.append(f"  {name:22} {answer['status']:10} {detail}")
    if value["fleets"]:
        lines += ["", "fleets"]
        lines += [_fleet_line(name, fleet) for name, fleet in value["fleets"].items()]
    lines += ["", "for Supabase's clients (all keys: bulkhead status -o env)"]
    for api in apis:
        lines += [f"  {api['database']}", f"    url          {api['url']}"]
        lines.append(f"    publishable  {api['publishable_key']}")
        lines.append(f"    secret       {api['secret_key']}")
    return "\n".join(lines)
