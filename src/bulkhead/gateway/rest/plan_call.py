"""Which function is called, and with what."""

from __future__ import annotations

from dataclasses import dataclass

from bulkhead.gateway.rest.schema import Function, Parameter
from bulkhead.gateway.rest.statement import Bind


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
