import pytest
from tests.integration.gateway.rest.library import CONFIG, Library, api

from bulkhead.gateway.rest.schema import Function, Name, Parameter, Schema, Volatility


def the(schema: Schema, name: str) -> Function:
    [function] = schema.functions[api(name)]
    return function


def test_overloads_stand_together_those_with_few_parameters_first(schema: Schema) -> None:
    few, many = schema.functions[api("find")]
    assert [each.name for each in few.parameters] == ["word"]
    assert many.parameters == (
        Parameter("word", "text", True, False, "text"),  # noqa: FBT003
        Parameter("most", "integer", False, False, "integer"),  # noqa: FBT003
        Parameter("more", "text[]", False, True, "text[]"),  # noqa: FBT003
    )
    assert many.has_variadic
    assert many.description == "Searches"
    assert (few.volatility, many.volatility) == (Volatility.IMMUTABLE, Volatility.STABLE)
    assert few.returns_set_of_scalar
    assert many.returns.name == api("books")


def test_an_unnamed_parameter_is_one_that_takes_the_whole_body(schema: Schema) -> None:
    assert the(schema, "whole").parameters == (Parameter("", "json", True, False, "json"),)  # noqa: FBT003
    assert api("unnamed") not in schema.functions
    assert api("mixed") not in schema.functions


@pytest.mark.parametrize("name", ["tidy", "write_count", "marc"])
def test_procedures_triggers_and_aggregates_cannot_be_called(schema: Schema, name: str) -> None:
    assert api(name) not in schema.functions


def test_functions_of_other_schemas_are_unknown(schema: Schema) -> None:
    assert Name("vault", "secret") not in schema.functions
    assert Name("tools", "words") not in schema.functions


def test_a_function_without_arguments_or_result(schema: Schema) -> None:
    nothing = the(schema, "no_arguments")
    assert nothing.parameters == ()
    assert nothing.returns_void


def test_parameters_that_come_out_are_not_given(schema: Schema) -> None:
    function = the(schema, "out_first")
    assert [(each.name, each.is_required) for each in function.parameters] == [
        ("label", True),
        ("flag", False),
    ]
    assert function.returns.is_composite
    assert function.columns == {"total": "bigint", "flag": "boolean"}


def test_the_columns_of_what_is_no_table_are_known(schema: Schema) -> None:
    assert the(schema, "as_table").columns == {"isbn": "character varying", "n": '"bit"'}
    assert the(schema, "as_size").columns == {"width": "integer", "height": "integer"}
    assert the(schema, "as_size").returns.name == api("size")
    assert the(schema, "as_table").parameters[0].max_length_type == "character varying"


def test_settings_of_a_function_that_are_hoisted(schema: Schema) -> None:
    slow = the(schema, "slow")
    assert slow.isolation == "serializable"
    assert dict(slow.settings) == {
        "statement_timeout": "7s",
        "default_transaction_isolation": "serializable",
    }
    assert "work_mem" not in CONFIG.hoisted_settings


def test_a_domain_over_a_type_is_told_from_the_type(schema: Schema) -> None:
    card = the(schema, "card")
    assert card.returns.name == Name("pg_catalog", "text")
    assert card.returns.is_alias
    assert not the(schema, "whole").returns.is_alias


async def test_only_named_schemas_are_searched(library: Library) -> None:
    schema = await library.load()
    assert {name.schema for name in schema.functions} == {"api"}
