"""Stock: what is there, what orders hold of it, and every movement of it."""
