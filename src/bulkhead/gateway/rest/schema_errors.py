"""What the schema cache has not, or has more than once: PGRST200 to 205, with their hints."""

from collections.abc import Sequence

from bulkhead.gateway.rest.errors import RestError

_SINGLE_PARAMETER = {
    "text/plain": "text",
    "text/xml": "xml",
    "application/octet-stream": "bytea",
}


class RelationshipNotFound(RestError):
    """Could not find a relationship between '{parent}' and '{child}' in the schema cache."""

    code = "pgrst200"
    status = 400


class RelationshipAmbiguous(RestError):
    """Could not embed because more than one relationship was found for '{parent}' and '{child}'.

    `details` lists the relationships.
    """

    code = "pgrst201"
    status = 300
    hint = (
        "Try changing '{child}' to one of the following: {options}. "
        "Find the desired relationship in the 'details' key."
    )


class FunctionNotFound(RestError):
    """Could not find the function {function} in the schema cache."""

    code = "pgrst202"
    status = 404
    detail = "Searched for the function {searched}, but no matches were found in the schema cache."


class FunctionAmbiguous(RestError):
    """Could not choose the best candidate function between: {candidates}."""

    code = "pgrst203"
    status = 300
    hint = (
        "Try renaming the parameters or the function itself in the database "
        "so function overloading can be resolved"
    )


class ColumnNotFound(RestError):
    """Could not find the '{column}' column of '{relation}' in the schema cache."""

    code = "pgrst204"
    status = 400


class TableNotFound(RestError):
    """Could not find the table '{schema}.{table}' in the schema cache."""

    code = "pgrst205"
    status = 404


def relationship_not_found(
    parent: str, child: str, schema: str, *, used_hint: str | None, advice: str | None
) -> RelationshipNotFound:
    """PGRST200; `used_hint` is the one after `!`, `advice` the hint of the answer."""
    using = f" using the hint '{used_hint}'" if used_hint is not None else ""
    return RelationshipNotFound(
        parent=parent,
        child=child,
        details=(
            f"Searched for a foreign key relationship between '{parent}' and '{child}'{using} "
            f"in the schema '{schema}', but no matches were found."
        ),
        hint=advice,
    )


def function_not_found(
    qualified_name: str, keys: Sequence[str], *, content_type: str, is_post: bool, hint: str | None
) -> FunctionNotFound:
    """PGRST202; `keys` are the arguments that were given, `content_type` without parameters."""
    single = _SINGLE_PARAMETER.get(content_type) if is_post else None
    if single:
        return FunctionNotFound(
            function=qualified_name,
            searched=f"{qualified_name} with a single unnamed {single} parameter",
        )
    names = ", ".join(keys)
    searched = f" with parameter{'s' if len(keys) > 1 else ''} {names}"
    if not keys:
        searched = " without parameters"
    if is_post and content_type == "application/json":
        searched += " or with a single unnamed json/jsonb parameter"
    return FunctionNotFound(
        function=qualified_name + (f"({names})" if keys else " without parameters"),
        searched=qualified_name + searched,
        hint=hint,
    )
