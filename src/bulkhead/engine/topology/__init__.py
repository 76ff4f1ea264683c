"""Declared facts about the databases of an application; pure values, validated when built."""

from bulkhead.engine.topology.access import Access, Actor, Verb
from bulkhead.engine.topology.database import Database, SecurityLevel
from bulkhead.engine.topology.exposure import ApiExposure
from bulkhead.engine.topology.reference import OnDelete, Reference
from bulkhead.engine.topology.table import Column, Table
from bulkhead.engine.topology.topology import Topology

__all__ = [
    "Access",
    "Actor",
    "ApiExposure",
    "Column",
    "Database",
    "OnDelete",
    "Reference",
    "SecurityLevel",
    "Table",
    "Topology",
    "Verb",
]
