"""The official JavaScript client: each story is a program that fails where it is disappointed."""

import asyncio
import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest
from tests.contract.clients.applications import SITE
from tests.contract.clients.node import (
    HERE,
    Node,
    RegistryUnreachable,
    ensure_node,
    ensure_packages,
)
from tests.contract.clients.storefront import PASSWORD, Storefront

STORY_S = 120.0
STORIES = sorted(path.stem for path in (HERE / "stories").glob("*.mjs"))


@dataclass(frozen=True)
class Theatre:
    """Where stories are told."""

    node: Node
    folder: Path


@pytest.fixture(scope="module")
def theatre(tmp_path_factory: pytest.TempPathFactory) -> Theatre:
    try:
        node = ensure_node()
        packages = ensure_packages(node)
    except RegistryUnreachable as error:
        pytest.skip(f"the JavaScript client is not installed and cannot be fetched: {error}")
    folder = tmp_path_factory.mktemp("stories")
    shutil.copytree(HERE / "stories", folder / "stories")
    shutil.copy(HERE / "package.json", folder)
    (folder / "node_modules").symlink_to(packages, target_is_directory=True)
    return Theatre(node, folder)


@pytest.mark.parametrize("story", STORIES)
async def test_story(shop: Storefront, club: Storefront, theatre: Theatre, story: str) -> None:
    given = {
        "site": SITE,
        "password": PASSWORD,
        **{
            name: {
                "address": front.address,
                "keys": {database: asdict(keys) for database, keys in front.keys.items()},
            }
            for name, front in (("shop", shop), ("club", club))
        },
    }
    done = await asyncio.to_thread(
        theatre.node.run,
        f"stories/{story}.mjs",
        json.dumps(given),
        cwd=theatre.folder,
        timeout_s=STORY_S,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_there_are_stories() -> None:
    assert len(STORIES) >= 10
