"""How much the scenarios try: enough for every commit, or all that there is.

`BULKHEAD_TEST_EFFORT=<n>` multiplies rounds, histories and examples, and from 2 on breaks every
guard and kills at every point in both placements; CONTRIBUTING.md tells when.
"""

import os

EFFORT = int(os.environ.get("BULKHEAD_TEST_EFFORT", "1"))  # noqa: TID251 - tests have no Settings
THOROUGH = EFFORT > 1

RACE_ROUNDS = 2 * EFFORT
HISTORIES = 3 * EFFORT
