"""The cases that are known to fail, each with the reason.

A case that is here and passes fails the suite, so that the list stays true.
"""

from collections.abc import Mapping

KNOWN: Mapping[str, str] = {}
