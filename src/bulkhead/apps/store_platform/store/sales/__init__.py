"""Orders of a store: placed against its stock, moved on, added up by day."""
