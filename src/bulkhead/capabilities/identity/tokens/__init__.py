"""Access tokens: the keys that sign them, and how they are made and verified."""
