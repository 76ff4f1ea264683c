"""References between databases: declared, checked on write, swept, repaired."""
