"""How much the scenarios try: enough for every commit, or all that there is.

`BULKHEAD_TEST_EFFORT=<n>` multiplies rounds, histories and kills, and from 2 on tries every point
in real processes too; CONTRIBUTING.md tells when.
"""

import os

EFFORT = int(os.environ.get("BULKHEAD_TEST_EFFORT", "1"))  # noqa: TID251 - tests have no Settings
THOROUGH = EFFORT > 1

RACE_ROUNDS = 3 * EFFORT
HISTORIES = 4 * EFFORT
KILL_ROUNDS = 3 * EFFORT
