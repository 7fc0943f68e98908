"""What a process must set before torch is loaded to be fast on a CPU. Imports nothing."""

from __future__ import annotations

import os

RUNTIME = {
    # Idle threads that spin take the cores that busy ones need.
    "OMP_WAIT_POLICY": "PASSIVE",
    # oneDNN keeps the code compiled for each shape of batch, about a thousand of them, at more than a megabyte each:
    # with 64, memory halves, and pretraining is 15 to 25 % faster.
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "64",
    "LRU_CACHE_CAPACITY": "64",
    # Large pages for large tensors: a fresh gradient of the vocabulary's vectors (49 MB) took 20 ms of page faults, and
    # takes 3.
    "THP_MEM_ALLOC_ENABLE": "1",
}


def prepare() -> None:
    """Sets what the user has not set."""
    for name, value in RUNTIME.items():
        os.environ.setdefault(name, value)
