"""The way out to hosts that customers name: databases, webhooks, storage.

Whoever may name a host may otherwise use this process to reach what only it can reach: servers
beside it, the cloud's metadata, its own databases. So every such host goes through `Egress.check`,
which looks its name up once, refuses it unless every address is public, and gives back addresses
to connect to; nobody looks the name up again.
"""

from bulkhead.engine.egress.guard import Egress, HostRefused, Service, Target, open_egress

__all__ = ["Egress", "HostRefused", "Service", "Target", "open_egress"]
