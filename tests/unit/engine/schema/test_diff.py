from hypothesis import given
from hypothesis import strategies as st

from bulkhead.engine.schema.diff import Change, diff
from bulkhead.engine.schema.introspect import CatalogObject, Kind, Snapshot

objects = st.builds(
    CatalogObject,
    st.sampled_from([Kind.TABLE, Kind.POLICY]),
    st.sampled_from(["a", "b", "c"]),
    st.sampled_from(["x", "y", ""]),
)
snapshots = st.lists(objects).map(Snapshot.of)


def test_missing_unexpected_and_changed_are_told_apart() -> None:
    expected = Snapshot.of(
        [CatalogObject(Kind.TABLE, "a", "1"), CatalogObject(Kind.TABLE, "b", "1")]
    )
    found = Snapshot.of([CatalogObject(Kind.TABLE, "b", "2"), CatalogObject(Kind.TABLE, "c", "1")])
    differences = diff(expected, found)
    assert [(each.name, each.change) for each in differences] == [
        ("a", Change.MISSING),
        ("b", Change.CHANGED),
        ("c", Change.UNEXPECTED),
    ]
    assert [str(each) for each in differences] == [
        "table a is missing: 1",
        "table b is '2', expected '1'",
        "table c should not be there: 1",
    ]


@given(snapshots, snapshots)
def test_no_difference_and_equal_fingerprints_mean_the_same(a: Snapshot, b: Snapshot) -> None:
    assert (diff(a, b) == ()) == (a.fingerprint == b.fingerprint)


@given(snapshots, snapshots)
def test_seen_from_the_other_side_the_objects_are_the_same(a: Snapshot, b: Snapshot) -> None:
    assert [(d.kind, d.name) for d in diff(a, b)] == [(d.kind, d.name) for d in diff(b, a)]
