"""Runs a command and prints what it took, as JSON: CPU and wall seconds, and the peak of its memory in MB.

A process of its own, and a small one: Linux counts what the parent held when it started a command into its peak.

    python benchmarks/timed.py COMMAND ARGUMENT ...
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time


def main() -> None:
    """Runs the command with its output on stderr, and ends as it did."""
    began = time.monotonic()
    process = subprocess.Popen(sys.argv[1:], stdout=sys.stderr)
    _, status, used = os.wait4(process.pid, 0)  # of this command, and the children it waited for
    wall = time.monotonic() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    print(json.dumps({"cpu_s": used.ru_utime + used.ru_stime, "wall_s": wall, "memory_mb": used.ru_maxrss / 1024}))
    sys.exit(process.returncode)


if __name__ == "__main__":
    main()
