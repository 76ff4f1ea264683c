"""Files of a store: what is said of them here, their bytes in its storage."""
