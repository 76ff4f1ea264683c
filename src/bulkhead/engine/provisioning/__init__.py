"""Tenants' databases, made or connected by jobs that survive crashes and leave nothing behind."""
