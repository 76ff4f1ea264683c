"""Where users are signed in, and the refresh tokens that keep them so."""
