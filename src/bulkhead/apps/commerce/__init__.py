"""A shop over three databases: who buys (users), what is sold (products), what was bought (orders)."""
