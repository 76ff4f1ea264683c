"""Organizations of Supabase as servers, on a cloud that is another process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from supabase_projects import ABSENT, can_listen
from tests.integration.cli.conftest import OWNER, Shop

ROOT = Path(__file__).parents[3]
SUPABASE = ("--type", "supabase-database")


@dataclass(frozen=True)
class Account:
    """An organization, and the token that leads to it."""

    organization: str
    token: str

    @property
    def options(self) -> tuple[str, ...]:
        return (*SUPABASE, "--organization", self.organization, "--region", "emea")


@pytest.fixture(scope="module")
def account() -> Iterator[Account]:
    if not can_listen():
        pytest.skip(ABSENT)
    cloud = subprocess.Popen(
        [sys.executable, "tools/supabase_api.py"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT / 'tools'}"},  # noqa: TID251
        stdout=subprocess.PIPE,
        text=True,
    )
    assert cloud.stdout is not None
    url, organization, token = cloud.stdout.readline().split()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BULKHEAD_SUPABASE_API", url)
        yield Account(organization, token)
    cloud.terminate()
    cloud.wait()
    cloud.stdout.close()


def test_an_organization_is_kept_when_its_token_leads_there(shop: Shop, account: Account) -> None:
    add = ("server", "add", "cloud", *account.options)
    assert shop.refused(*add, typed="sbp_wrong\n") == (1, "supabase_token_refused")
    other = Account("another", account.token).options
    assert shop.refused("server", "add", "cloud", *other, typed=f"{account.token}\n") == (
        4, "supabase_organization_unknown",
    )  # fmt: skip
    assert "cloud" not in {row["name"] for row in shop.json("server", "list")}
    said = shop.done(*add, typed=f"{account.token}\n")
    assert "projects in emea" in said
    assert account.token not in said
    (row,) = [row for row in shop.json("server", "list") if row["name"] == "cloud"]
    assert (row["kind"], row["address"], row["connections_max"]) == (
        "supabase-database", f"organization {account.organization}", 15,
    )  # fmt: skip
    create = ("provision", "create", "Cloudy", "--owner", OWNER, *SUPABASE, "--no-wait")
    shop.done(*create)
    shop.done("provision", "cancel", "cloudy")
    assert shop.json("provision", "show", "cloudy")["state"] == "cancelled"
    shop.done("server", "remove", "cloud")


def test_an_owner_s_account_is_tried_before_anything_is_begun(shop: Shop, account: Account) -> None:
    create = ("provision", "create", "Own", "--owner", OWNER, *account.options, "--no-wait")
    assert shop.refused(*create, typed="sbp_wrong\n") == (1, "supabase_token_refused")
    said = shop.done("provision", "test", *account.options, typed=f"{account.token}\n")
    assert said == f"The access token works: organization {account.organization}, emea.\n"
    shop.done(
        "provision", "start", "own", *account.options, "--no-wait", typed=f"{account.token}\n"
    )
    (row,) = [row for row in shop.json("server", "list") if row["name"].startswith("own-")]
    assert account.organization in row["name"]
    shop.done("provision", "cancel", "own")
    shop.done("server", "remove", row["name"])
