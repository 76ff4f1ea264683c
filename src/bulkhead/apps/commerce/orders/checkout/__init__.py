"""Placing an order: its price, its rows, and what its payment makes of it."""
