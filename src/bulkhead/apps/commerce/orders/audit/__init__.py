"""Audit: what must be true of orders, payments and coupons, as queries for what is not."""
