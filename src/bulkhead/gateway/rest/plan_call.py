"""Which function is called, and with what."""

from __future__ import annotations

from dataclasses import dataclass

from bulkhead.gateway.rest.plan_tree import ReadNode
from bulkhead.gateway.rest.plan_write import is_json_object, plan_needed_columns
from bulkhead.gateway.rest.request import Action, ApiRequest, PayloadKind
from bulkhead.gateway.rest.schema import Function, Parameter
from bulkhead.gateway.rest.statement import (
    ArgumentsBind,
    Bind,
    BodyBind,
    BytesBind,
    FormBind,
    FormListBind,
    TextBind,
    TextsBind,
)


@dataclass(frozen=True, slots=True)
class DirectArguments:
    """Each argument a value of its own, from the address or a form."""

    arguments: tuple[tuple[Parameter, Bind], ...]


@dataclass(frozen=True, slots=True)
class JsonArguments:
    """The arguments are the keys of the body."""

    parameters: tuple[Parameter, ...]
    is_object: bool


@dataclass(frozen=True, slots=True)
class WholeArgument:
    """The whole body, or all arguments as one, is the only argument, which has no name."""

    parameter: Parameter
    value: Bind


Arguments = DirectArguments | JsonArguments | WholeArgument


@dataclass(frozen=True, slots=True)
class Call:
    """A call."""

    function: Function
    arguments: Arguments
    columns: tuple[str, ...]
    """What of a row is needed later; empty is everything."""


def list_argument_names(request: ApiRequest) -> frozenset[str]:
    """The names of the arguments that `request` gives."""
    if request.action is Action.CALL:
        return request.columns
    return frozenset(each.name for each in request.query.arguments)


def plan_call(request: ApiRequest, function: Function, root: ReadNode) -> Call:
    """Plan the call; `root` reads what it returns."""
    return Call(function, _plan_arguments(request, function), plan_needed_columns(root, ()))


def _plan_arguments(request: ApiRequest, function: Function) -> Arguments:
    parameters = function.parameters
    if len(parameters) == 1 and not parameters[0].name:
        return WholeArgument(parameters[0], _bind_whole(request, parameters[0]))
    names = list_argument_names(request)
    given = tuple(each for each in parameters if each.name in names)
    if request.action is Action.CALL and not _is_form(request):
        return JsonArguments(given, is_json_object(request))
    return DirectArguments(tuple((each, _bind_direct(request, each)) for each in given))


def _bind_whole(request: ApiRequest, parameter: Parameter) -> Bind:
    if request.action is not Action.CALL or _is_form(request):
        return ArgumentsBind(request.query.arguments)
    return BytesBind() if parameter.type == "bytea" else BodyBind()


def _bind_direct(request: ApiRequest, parameter: Parameter) -> Bind:
    if _is_form(request):
        return (FormListBind if parameter.is_variadic else FormBind)(parameter.name)
    values = tuple(each.value for each in request.query.arguments if each.name == parameter.name)
    return TextsBind(values) if parameter.is_variadic else TextBind(values[-1])


def _is_form(request: ApiRequest) -> bool:
    return request.payload is not None and request.payload.kind is PayloadKind.FORM
