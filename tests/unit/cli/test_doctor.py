"""What `bulkhead doctor` says of a finding."""

from bulkhead.cli.doctor import render_finding
from bulkhead.engine.monitoring.findings import Finding, Level


def test_an_invariant_is_told_by_its_sentence_and_its_code_comes_last() -> None:
    holds = Finding(Level.OK, "invariant_holds", "I5", "every number is one")
    assert render_finding(holds) == "ok    every number is one (I5)"
    detail = "every number is one: 2 violations, first orders.orders 7: is NaN"
    broken = Finding(Level.ERROR, "invariant_broken", "I5", detail, "Look at the rows.")
    assert render_finding(broken) == f"FAIL  {detail} (I5)\n      Look at the rows."


def test_what_is_found_of_a_database_stands_behind_its_name() -> None:
    found = Finding(Level.WARNING, "clock_apart", "orders", "is 3 s ahead", "Set its clock.")
    assert render_finding(found) == f"warn  {'orders':22} is 3 s ahead\n      Set its clock."
