"""What all tests share; the fixtures with databases come from `bulkhead.engine.testing`."""

from hypothesis import settings

# Machines differ in speed, so that a deadline would fail the slow ones only.
settings.register_profile("bulkhead", deadline=None, print_blob=True)
settings.load_profile("bulkhead")
