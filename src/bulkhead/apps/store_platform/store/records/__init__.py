"""Rows of a store: listed, shown, added, changed and deleted alike, whatever they are of."""
