"""Calls of functions as SQL.

A function that returns rows stands alone in `from`, where the planner can put its body in its
place. Source of the form: PostgREST v14, `callPlanToQuery` of `QueryBuilder.hs`.
"""

from __future__ import annotations

from bulkhead.gateway.rest.plan_call import Call, DirectArguments, JsonArguments, WholeArgument
from bulkhead.gateway.rest.plan_write import WriteColumn
from bulkhead.gateway.rest.schema import Name, Parameter
from bulkhead.gateway.rest.sql_json import BODY, JsonBody
from bulkhead.gateway.rest.sql_parts import (
    Parameters,
    quote,
    quote_column,
    quote_name,
    render_cast,
)
from bulkhead.gateway.rest.statement import BytesBind, FormListBind, TextsBind

SCALAR = "pgrst_scalar"
"""The column of a value that is no row."""
_CALL = Name("", "pgrst_call")


def render_call(call: Call, parameters: Parameters) -> str:
    """Render the call."""
    arguments, rows = _render_arguments(call, parameters)
    called = f"{quote_name(call.function.name)}({arguments})"
    returns = call.function.returns
    lateral = f"{rows}, lateral" if rows else " from"
    if not returns.is_composite:
        return f"select {_CALL.name}.{SCALAR}{lateral} (select {called} {SCALAR}) {_CALL.name}"
    shown = ", ".join(quote_column(_CALL, name) for name in call.columns or ("*",))
    return f"select {shown}{lateral} {called} {_CALL.name}"


def _render_arguments(call: Call, parameters: Parameters) -> tuple[str, str]:
    """Render the list of arguments, and the `from` clause that they come from."""
    match call.arguments:
        case WholeArgument() as whole:
            if isinstance(whole.value, BytesBind):
                return parameters.add(whole.value, "bytea"), ""
            text = parameters.add(whole.value, "text")
            return render_cast(text, whole.parameter.type), ""
        case DirectArguments() as direct:
            rendered = []
            for parameter, value in direct.arguments:
                is_list = isinstance(value, TextsBind | FormListBind)
                given = parameters.add(value, "text[]" if is_list else "text")
                rendered.append(_named(parameter, render_cast(given, _type(parameter))))
            return ", ".join(rendered), ""
        case JsonArguments() as listed:
            if not listed.parameters:
                return "", ""
            columns = [WriteColumn(each.name, _type(each)) for each in listed.parameters]
            body = JsonBody(columns, listed.is_object, is_one_row=True)
            rendered = [_named(each, quote_column(BODY, each.name)) for each in listed.parameters]
            return ", ".join(rendered), body.render(parameters)


def _named(parameter: Parameter, value: str) -> str:
    variadic = "variadic " if parameter.is_variadic else ""
    return f"{variadic}{quote(parameter.name)} := {value}"


def _type(parameter: Parameter) -> str:
    return parameter.max_length_type or parameter.type
