"""The rows of users and of the ways they sign in, and the audit log about them."""
