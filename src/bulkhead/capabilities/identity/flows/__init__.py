"""Sign-ins under way that end with a code for the client which began them (PKCE)."""
