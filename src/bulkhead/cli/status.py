"""`bulkhead status`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from bulkhead.cli.output import EXIT_UNREACHABLE, Output
from bulkhead.cli.session import Running, settings_of

if TYPE_CHECKING:
    from bulkhead.engine.settings import Settings

TIMEOUT_S = 5.0


@click.command()
@click.pass_obj
def status(output: Output) -> int:
    """Show what runs, where, and how its databases answer."""
    settings = settings_of(output)
    running = Running.find(settings)
    if running is None:
        output.data({"running": False, "home": str(settings.home)}, text="Nothing is running.")
        output.note("Start it:  bulkhead up")
        return EXIT_UNREACHABLE
    ready = _ask(running.url)
    value = {"running": True, "url": running.url, "pid": running.pid, **ready}
    output.data(value, text=_text(settings, running, ready))
    return 0 if ready.get("status") == "ready" else EXIT_UNREACHABLE


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


def _text(settings: Settings, running: Running, ready: dict[str, Any]) -> str:
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
    return "\n".join(lines)
