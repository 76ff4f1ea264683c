"""The stores of the platform: made, found, changed, closed."""
