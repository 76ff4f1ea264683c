"""Schemas declared once as SQLAlchemy tables: made, read back and compared on either dialect."""
