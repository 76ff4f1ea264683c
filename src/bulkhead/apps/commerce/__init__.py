"""A shop over three databases: who buys, what is sold, and what was bought."""
