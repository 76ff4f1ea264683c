"""The orders of a customer, and how an order moves on once it is paid for."""
