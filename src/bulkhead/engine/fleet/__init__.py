"""Fleets: thousands of databases of one schema, each of them a tenant's own."""
