"""Who did what: a chain of rows that are never changed."""
