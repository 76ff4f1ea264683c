"""What a store knows of itself, for whoever rolls it up."""
