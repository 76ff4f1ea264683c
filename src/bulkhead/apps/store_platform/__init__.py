"""The store platform: a master database runs it, each store has a database of its own."""
