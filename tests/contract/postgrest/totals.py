"""Prints how many cases pass, by tier, and what fails.

usage: python -m tests.contract.postgrest.totals [--tier must] [--only REGEX] [--quiet]
"""

# ruff: noqa: T201 - a program that prints

import argparse
import asyncio
import re
from collections import Counter
from contextlib import AsyncExitStack

from tests.contract.postgrest.spec_gateway import SpecGateways, try_vector
from tests.contract.postgrest.spec_server import start_spec_server
from tests.contract.postgrest.vectors import Vector, load_vectors

from bulkhead.engine.testing import open_test_servers


def main() -> None:
    """Run the cases that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tier", default="")
    parser.add_argument("--only", default="", help="a regular expression that ids must match")
    parser.add_argument("--quiet", action="store_true", help="totals only")
    options = parser.parse_args()
    chosen = [
        vector
        for vector in load_vectors()
        if options.tier in {"", vector.tier} and re.search(options.only, vector.id)
    ]
    asyncio.run(print_totals(chosen, quiet=options.quiet))  # noqa: TID251 - a program of its own


async def print_totals(vectors: list[Vector], *, quiet: bool) -> None:
    """Try every case and print."""
    passed: Counter[str] = Counter()
    lacking: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    by_spec: Counter[str] = Counter()
    async with open_test_servers() as servers, AsyncExitStack() as stack:
        gateways = SpecGateways(await start_spec_server(servers), stack)
        for vector in vectors:
            if gateways.server.lacking & set(vector.needs):
                lacking[vector.tier] += 1
                continue
            difference = await try_vector(gateways, vector)
            if difference is None:
                passed[vector.tier] += 1
                continue
            failed[vector.tier] += 1
            by_spec[vector.id.partition("#")[0]] += 1
            if not quiet:
                print(f"{vector.tier} {vector.id}\n    {' / '.join(vector.path)}\n    {difference}")
    for spec, times in by_spec.most_common():
        print(f"{times:4} {spec}")
    for tier in ("must", "should", "later"):
        tried = passed[tier] + failed[tier]
        print(f"{tier}: {passed[tier]} of {tried} pass, {lacking[tier]} cannot be tried here")


if __name__ == "__main__":
    main()
