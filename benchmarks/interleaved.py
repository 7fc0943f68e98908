"""Several sides measured in turn, each in a process of its own: a machine whose speed drifts favours nobody."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def measure(
    script: str, sides: Sequence[str], words: Sequence[str], *, repeats: int,
    environments: Mapping[str, Mapping[str, str]], verbose: bool = False,
) -> dict[str, list[dict[str, float]]]:  # fmt: skip
    """Returns by side what `answer` said in each repeat.

    Every side is started as `script --worker SIDE` with these further words, one thread, and its environment beside
    this process's own; then all are asked in turn.
    """
    running = {}
    for side in sides:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", **environments.get(side, {})}
        quiet = None if verbose else subprocess.DEVNULL
        process = subprocess.Popen(
            [sys.executable, script, "--worker", side, *words],
            env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=quiet, text=True,
        )  # fmt: skip
        running[side] = process
        _line(side, process)  # one gets ready after the other, and none while another is measured
    found: dict[str, list[dict[str, float]]] = {side: [] for side in sides}
    for _ in range(repeats):
        for side, process in running.items():
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
            found[side].append(json.loads(_line(side, process)))
    for process in running.values():
        assert process.stdin is not None
        process.stdin.close()
        process.wait()
    return found


def _line(side: str, process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        sys.exit(f"{side} ended without an answer; run again with --verbose to see why")
    return line


def answer(prepare: Callable[[], Callable[[], dict[str, Any]]]) -> None:
    """The worker's part: prepares, says so, then answers each line with one measurement and its peak of memory."""
    talk, sys.stdout = sys.stdout, sys.stderr  # libraries print
    take = prepare()
    print("ready", file=talk, flush=True)
    for _ in sys.stdin:
        found = take()
        found["memory_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps(found), file=talk, flush=True)
