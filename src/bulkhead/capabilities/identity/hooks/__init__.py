"""What a function of the database has to say about a token."""
