"""The official client in a real browser, on a page of another origin than ours."""

import asyncio
import functools
import html
import json
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tests.contract.clients.node import (
    HERE,
    RegistryUnreachable,
    ensure_node,
    ensure_packages,
)
from tests.contract.clients.storefront import PASSWORD, Storefront

from bulkhead.capabilities.identity import create_user

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
VISIT_S = 90.0
NOBODY = "01a20000-0000-7000-8000-000000000000"
QUIET = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    "--virtual-time-budget=30000",
)


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def another_origin(folder: Path) -> Iterator[str]:
    """Serve a folder on a port of its own."""
    handler = functools.partial(QuietHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.skipif(BROWSER is None, reason="there is no Chromium on this machine")
async def test_a_page_of_another_origin_visits_three_databases(
    shop: Storefront, tmp_path: Path
) -> None:
    assert BROWSER is not None
    try:
        packages = ensure_packages(ensure_node())
    except RegistryUnreachable as error:
        pytest.skip(f"the JavaScript client is not installed and cannot be fetched: {error}")
    email = "browser@example.com"
    people = shop.people
    await create_user(people, email=email, password=PASSWORD)
    page = tmp_path / "page"
    shutil.copytree(HERE / "page", page)
    shutil.copy(packages / "@supabase" / "supabase-js" / "dist" / "umd" / "supabase.js", page)
    given = {
        name: {"url": shop.url(name), "key": shop.keys[name].anon}
        for name in ("users", "products", "orders")
    } | {"email": email, "password": PASSWORD, "nobody": NOBODY}
    (page / "given.js").write_text(f"const given = {json.dumps(given)};", encoding="utf-8")
    with another_origin(page) as origin:
        done = await asyncio.to_thread(
            subprocess.run,
            [BROWSER, *QUIET, f"--user-data-dir={tmp_path}/profile", "--dump-dom", f"{origin}/"],
            capture_output=True,
            text=True,
            timeout=VISIT_S,
            check=False,
        )
    found = re.search(r'<pre id="told">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found is not None, done.stderr
    assert json.loads(html.unescape(found[1])) == [
        ["catalogue", [None, True, 2]],
        ["orders of nobody", "42501"],
        ["signed in", [None, email]],
        ["orders", None],
        ["profile", [None, {"display_name": "Ada L."}]],
        ["nobody", [406, "PGRST116"]],
        ["signed out", None],
        ["end", None],
    ]
