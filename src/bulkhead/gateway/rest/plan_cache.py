"""Plans and statements that were made before, by the shape of the request."""

from bulkhead.gateway.rest.config import RestConfig
from bulkhead.gateway.rest.plan import Plan
from bulkhead.gateway.rest.request import ApiRequest
from bulkhead.gateway.rest.schema import Schema
from bulkhead.gateway.rest.statement import Statement


class PlanCache:
    """The plans of one REST API; bounded."""

    def __init__(self, config: RestConfig, size_max: int = 2000) -> None:
        """Begin empty."""
        self._config = config
        self._size_max = size_max

    def find(self, request: ApiRequest, schema: Schema) -> tuple[Plan, Statement]:
        """The plan and the statement for `request`, made now if there is none yet.

        Raises what `make_plan` raises.
        """
        raise NotImplementedError
