"""Connections that cannot reach the wrong database, tenant or row."""
