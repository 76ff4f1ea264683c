"""What stores are connected to."""
