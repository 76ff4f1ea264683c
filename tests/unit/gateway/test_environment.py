import subprocess
from pathlib import Path

import pytest

from bulkhead.apps.commerce.topology import TOPOLOGY
from bulkhead.engine.connections.claims import Role
from bulkhead.engine.settings import Settings, load_dotenv
from bulkhead.engine.topology import ApiExposure, Database, Topology
from bulkhead.gateway.environment import render_environment
from bulkhead.gateway.keyring import ApiKeyRing, open_keyring
from bulkhead.gateway.keys import KeyKind

ORIGIN = "https://shop.example"


@pytest.fixture
def ring(tmp_path: Path) -> ApiKeyRing:
    return open_keyring("commerce", Settings(home=tmp_path))


def test_the_variables_are_those_of_front_ends_upon_three_projects(
    ring: ApiKeyRing, tmp_path: Path
) -> None:
    path = tmp_path / ".env.local"
    path.write_text(render_environment(TOPOLOGY, ring, ORIGIN) + "\n")
    values = load_dotenv(path)
    for name, database in (("USER", "users"), ("ORDERS", "orders"), ("PRODUCTS", "products")):
        keys = ring.keys(database)
        found = {
            key: values.pop(key.format(name=name))
            for key in (
                "NEXT_PUBLIC_SUPABASE_{name}_URL",
                "NEXT_PUBLIC_SUPABASE_{name}_ANON_KEY",
                "SUPABASE_{name}_SERVICE_ROLE_KEY",
                "NEXT_PUBLIC_SUPABASE_{name}_PUBLISHABLE_KEY",
                "SUPABASE_{name}_SECRET_KEY",
            )
        }
        assert list(found.values()) == [
            f"{ORIGIN}/commerce/{database}",
            keys.current(KeyKind.JWT, Role.ANON),
            keys.current(KeyKind.JWT, Role.SERVICE),
            keys.current(KeyKind.PUBLISHABLE, Role.ANON),
            keys.current(KeyKind.SECRET, Role.SERVICE),
        ]
    assert values == {}


def test_what_a_page_may_show_to_everybody_is_no_secret(ring: ApiKeyRing) -> None:
    text = render_environment(TOPOLOGY, ring, ORIGIN)
    public = [line for line in text.splitlines() if line.startswith("NEXT_PUBLIC_")]
    for database in ("users", "products", "orders"):
        for key in ring.keys(database).keys:
            if key.role == Role.SERVICE:
                assert not [line for line in public if key.text in line]


def test_a_shell_can_source_it(ring: ApiKeyRing, tmp_path: Path) -> None:
    path = tmp_path / "env"
    path.write_text(render_environment(TOPOLOGY, ring, ORIGIN) + "\n")
    script = f'set -eu; . "{path}"; printf %s "$SUPABASE_ORDERS_SECRET_KEY"'
    told = subprocess.run(["sh", "-c", script], check=True, capture_output=True, text=True)
    assert told.stdout == ring.keys("orders").current(KeyKind.SECRET, Role.SERVICE)


@pytest.mark.parametrize(
    ("exposure", "name"),
    [
        (ApiExposure(), "NEXT_PUBLIC_SUPABASE_NOTES_URL="),
        (ApiExposure(variable="TRADING"), "NEXT_PUBLIC_SUPABASE_TRADING_URL="),
        (ApiExposure(variable=""), "NEXT_PUBLIC_SUPABASE_URL="),
    ],
)
def test_a_topology_may_call_a_database_otherwise(
    ring: ApiKeyRing, tmp_path: Path, exposure: ApiExposure, name: str
) -> None:
    topology = Topology("notes", (Database("notes", (), tmp_path, api=exposure),))
    assert name in render_environment(topology, ring, ORIGIN)


def test_a_database_that_is_not_exposed_has_no_variables(ring: ApiKeyRing, tmp_path: Path) -> None:
    hidden = Database("notes", (), tmp_path, api=ApiExposure(enabled=False))
    assert render_environment(Topology("notes", (hidden,)), ring, ORIGIN) == ""
