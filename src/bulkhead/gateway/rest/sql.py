"""From a plan to one statement."""

from bulkhead.gateway.rest.plan import Plan
from bulkhead.gateway.rest.statement import Statement


def render(plan: Plan) -> Statement:
    """Render the statement that does what `plan` says."""
    raise NotImplementedError
