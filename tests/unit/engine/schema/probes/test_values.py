from bulkhead.engine.schema.probes.samples import Samples, Sql
from bulkhead.engine.schema.probes.values import find_choice, guess_value, render_value
from bulkhead.engine.schema.relations import ColumnFacts, Index, Relation, RelationKind


def column(
    type_: str, *, base: str | None = None, length: int | None = None, checks: tuple[str, ...] = ()
) -> ColumnFacts:
    return ColumnFacts(
        "value",
        type_,
        base or type_,
        is_array=type_.endswith("[]"),
        length_max=length,
        not_null=True,
        checks=checks,
    )


def relation(facts: ColumnFacts, *, is_unique: bool = False) -> Relation:
    index = Index(("value",), is_unique=True)
    indexes = (index,) if is_unique else ()
    return Relation("public", "things", RelationKind.TABLE, {"value": facts}, (), indexes)


def guess(facts: ColumnFacts, samples: Samples | None = None, *, is_unique: bool = False) -> str:
    return guess_value(relation(facts, is_unique=is_unique), "value", samples or Samples(), 7)


def test_the_first_choice_of_a_check_is_taken() -> None:
    facts = column("text", checks=("CHECK ((value = ANY (ARRAY['it''s'::text, 'b'::text])))",))
    assert find_choice(facts) == "it's"
    assert guess(facts) == "'it''s'"


def test_types_have_plain_values() -> None:
    assert guess(column("integer")) == "1"
    assert guess(column("money_amount", base="numeric")) == "1"
    assert guess(column("jsonb")) == "'{}'"
    assert guess(column("uuid[]")) == "'{}'"
    assert guess(column("timestamp with time zone")) == "now()"


def test_what_is_unique_differs_by_number() -> None:
    assert guess(column("integer"), is_unique=True) == "7"
    assert guess(column("text")) == "'value7'"
    assert guess(column("character varying(3)", base="character varying", length=3)) == "'ue7'"


def test_what_is_declared_counts_first() -> None:
    facts = column("public.currency_code", base="text")
    by_type = Samples(types={"public.currency_code": "EUR"})
    assert guess(facts, by_type) == "'EUR'"
    by_column = Samples(types=by_type.types, values={"things": {"value": lambda n: f"X{n}"}})
    assert guess(facts, by_column) == "'X7'"


def test_a_value_may_be_computed_by_the_database() -> None:
    assert render_value(Sql("now()"), 1) == "(now())"
    assert render_value(lambda n: Sql(f"make_date(2026, 1, {n})"), 3) == "(make_date(2026, 1, 3))"
