"""Charging and refunding through a payment company, and believing its webhooks."""
