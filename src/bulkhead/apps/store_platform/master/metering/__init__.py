"""What stores use of their plans: held, settled, counted."""
