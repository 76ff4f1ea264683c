"""Migrations: plain SQL files, planned purely, applied in one transaction per database."""
