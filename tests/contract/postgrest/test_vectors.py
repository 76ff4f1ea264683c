"""Our REST dialect against the cases of PostgREST's own test suite.

The cases lie in `../shared/postgrest`, beside the checkout; without them there is nothing to test.
Totals by tier, and what fails, are printed by:

    python -m tests.contract.postgrest.totals [--tier must] [--only REGEX]
"""

import pytest
from tests.contract.postgrest.known import KNOWN
from tests.contract.postgrest.spec_gateway import SpecGateways, try_vector
from tests.contract.postgrest.vectors import Vector, load_vectors

VECTORS = load_vectors()
SHOULD_PASS = 0.9
"""The share of cases of the tier `should` that must pass; of `must`, all have to."""


@pytest.mark.skipif(not VECTORS, reason="there is no ../shared/postgrest")
@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.id)
async def test_a_case_is_answered_as_by_postgrest(gateways: SpecGateways, vector: Vector) -> None:
    missing = gateways.server.lacking & set(vector.needs)
    if missing:
        pytest.skip(f"the server has no {', '.join(sorted(missing))}")
    difference = await try_vector(gateways, vector)
    if vector.id in KNOWN:
        assert difference is not None, "it is known to fail, yet passes"
        pytest.xfail(KNOWN[vector.id])
    assert difference is None, difference


@pytest.mark.skipif(not VECTORS, reason="there is no ../shared/postgrest")
def test_what_is_known_to_fail_is_little_and_exists() -> None:
    tiers = {vector.id: vector.tier for vector in VECTORS}
    assert set(tiers) >= set(KNOWN)
    assert not [case for case in KNOWN if tiers[case] == "must"]
    failing = sum(tiers[case] == "should" for case in KNOWN)
    wanted = sum(tier == "should" for tier in tiers.values())
    assert failing <= (1 - SHOULD_PASS) * wanted
