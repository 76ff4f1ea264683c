"""Which of the functions of a name is called.

Source: PostgREST v14, `findProc` of `Plan.hs`.
"""

from __future__ import annotations

from bulkhead.gateway.rest.plan_call import list_argument_names
from bulkhead.gateway.rest.request import Action, ApiRequest
from bulkhead.gateway.rest.schema import Function, Schema
from bulkhead.gateway.rest.schema_errors import FunctionAmbiguous, function_not_found
from bulkhead.gateway.rest.similar import suggest_function

_SINGLE_TYPES = {
    "application/json": frozenset({"json", "jsonb"}),
    "text/plain": frozenset({"text"}),
    "text/xml": frozenset({"xml"}),
    "application/octet-stream": frozenset({"bytea"}),
}
_NO_KEYS = frozenset({"application/octet-stream", "text/plain", "text/xml"})
"""Bodies that can only be the one unnamed argument."""


def find_function(request: ApiRequest, schema: Schema) -> Function:
    """The function that takes the arguments of `request`.

    Raises PGRST202 if there is none, and PGRST203 if there are several.
    """
    overloads = schema.functions.get(request.target, ())
    keys = list_argument_names(request)
    is_post = request.action is Action.CALL
    content_type = request.content_type.partition(";")[0].strip().lower()
    found = [each for each in overloads if _takes(each, keys, content_type if is_post else "")]
    if not found and is_post:
        found = [each for each in overloads if _takes_whole(each, content_type)]
    if len(found) == 1:
        return found[0]
    if found:
        raise FunctionAmbiguous(candidates=", ".join(_describe(each) for each in found))
    is_whole_only = is_post and content_type in _NO_KEYS
    raise function_not_found(
        f"{request.schema}.{request.resource}",
        sorted(keys),
        content_type=content_type,
        is_post=is_post,
        hint=None if is_whole_only else suggest_function(schema, request.target, keys),
    )


def _takes(function: Function, keys: frozenset[str], content_type: str) -> bool:
    if not function.parameters:
        return not keys and content_type not in _NO_KEYS
    required = {each.name for each in function.parameters if each.is_required}
    optional = {each.name for each in function.parameters if not each.is_required}
    return keys - optional == required


def _takes_whole(function: Function, content_type: str) -> bool:
    if len(function.parameters) != 1:
        return False
    only = function.parameters[0]
    return not only.name and only.type in _SINGLE_TYPES.get(content_type, ())


def _describe(function: Function) -> str:
    parameters = ", ".join(f"{each.name} => {each.type}" for each in function.parameters)
    return f"{function.name.schema}.{function.name.name}({parameters})"
