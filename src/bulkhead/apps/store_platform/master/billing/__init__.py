"""Subscriptions, their trials and periods, and what is charged for them."""
