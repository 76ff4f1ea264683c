"""The users database: profiles, addresses, preferences, sessions and activity."""
