"""Audit: what must be true of stock, as queries for what is not."""
