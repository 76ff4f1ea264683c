"""A store's database: what it sells, to whom, and what it shows."""
