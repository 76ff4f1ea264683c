"""`bulkhead status`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from bulkhead.cli.output import EXIT_UNREACHABLE, Output
from bulkhead.cli.session import Running, running_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bulkhead.engine.application import Application
    from bulkhead.engine.settings import Settings
    from bulkhead.gateway.keyring import ApiKeyRing

TIMEOUT_S = 5.0


@click.command()
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
    ready = _ask(running.url)
    value = {"running": True, "url": running.url, "pid": running.pid, **ready, "apis": apis}
    output.data(value, text=_text(settings, running, ready, apis))
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


def _text(
    settings: Settings, running: Running, ready: dict[str, Any], apis: list[dict[str, str]]
) -> str:
    lines = [
        f"url      {running.url}",
        f"pid      {running.pid}",
        f"home     {settings.home}",
        f"status   {ready['status']}",
    ]
    for name, answer in ready.get("databases", {}).items():
        latency = answer.get("latency_ms")
        detail = f"{latency} ms" if latency is not None else answer.get("code") or ""
        lines.append(f"  {name:20} {answer['status']:10} {detail}")
    lines += ["", "for Supabase's clients (all keys: bulkhead status -o env)"]
    for api in apis:
        lines += [f"  {api['database']}", f"    url          {api['url']}"]
        lines.append(f"    publishable  {api['publishable_key']}")
        lines.append(f"    secret       {api['secret_key']}")
    return "\n".join(lines)
