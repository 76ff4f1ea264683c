"""Run every check that needs no database, side by side, and show what those that failed have said.

`python tools/check.py` prints a line for each check as it ends; the exit code is 1 if any failed.
The longest begin first, so that the short ones fit in beside them.
"""

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

ROOT = Path(__file__).parents[1]
AT_ONCE = 2
CHECKS = {
    # Sizes and the reference of errors are among the tests of the architecture.
    "tests": ("pytest", "-q", "-n", "2", "--dist", "loadfile", "tests/unit", "tests/architecture"),
    "types": ("mypy", "--no-error-summary"),
    "lint": ("ruff", "check", "--quiet", "."),
    "format": ("ruff", "format", "--check", "--quiet", "."),
    "imports": ("lint-imports", "--no-logo", "--verbose"),
    "spelling": ("codespell",),
}


def main() -> int:
    """Run the checks; return the exit code."""
    started = time.monotonic()
    failed = []
    with ThreadPoolExecutor(AT_ONCE) as lanes:
        running = {lanes.submit(run, command): name for name, command in CHECKS.items()}
        for check in as_completed(running):
            name, (code, said, duration_s) = running[check], check.result()
            print(f"{name:9} {'FAILED' if code else 'ok':6} {duration_s:5.1f} s", flush=True)
            if code:
                failed.append(name)
                print(said.rstrip(), flush=True)
    outcome = f"failed: {', '.join(failed)}" if failed else "all is well"
    print(f"{outcome}; {time.monotonic() - started:.0f} s")
    return 1 if failed else 0


def run(command: tuple[str, ...]) -> tuple[int, str, float]:
    """Its exit code, what it has said, and how long it took in seconds."""
    started = time.monotonic()
    program = Path(sys.executable).parent / command[0]
    done = subprocess.run(  # noqa: S603 - one of the commands above
        [program, *command[1:]],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    return done.returncode, done.stdout, time.monotonic() - started


if __name__ == "__main__":
    sys.exit(main())
