"""Everything between a socket and the routes of the applications."""
