"""Lint: what is wrong with a database's catalogue, found by named rules that can be muted."""
