"""What the lines of an order cost right now."""
