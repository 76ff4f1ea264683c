"""Bulkhead keeps applications whose data is split over several databases in one piece."""

__version__ = "0.1.0"
