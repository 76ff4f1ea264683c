"""The master database: whose stores there are, where they live, what they use and pay."""
