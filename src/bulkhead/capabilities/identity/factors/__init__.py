"""Second factors: authenticators whose codes prove more than a password does."""
