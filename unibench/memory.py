"""What does not fit in memory is taken in parts. Names no task and no model.

Shapes: B rows of a batch.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

# How a refused allocation reads where it is a plain RuntimeError: torch on CPUs (Linux, Windows), cuBLAS's own
REFUSALS = ("can't allocate memory", "not enough memory", "CUBLAS_STATUS_ALLOC_FAILED")

Result = TypeVar("Result")


class DoesNotFitError(RuntimeError):
    """A single item needs more memory than there is. The caller records a failure."""


@dataclass(slots=True)
class Parts:
    """How many parts a batch is cut into: doubled whenever the memory refuses, and kept for the batches after."""

    count: int = 1

    def run(
        self, chosen_B: NDArray[np.int64], rows_per_item: int, work: Callable[[Sequence[NDArray[np.int64]]], Result]
    ) -> Result:
        """Returns what `work` makes of the batch's rows, given in order and in as many parts as memory asks for.

        `work` is called anew after a refusal and must not build on what the refused call left behind. Raises
        DoesNotFitError where parts of one item are refused.
        """
        items = chosen_B.reshape(-1, rows_per_item)
        while True:
            parts = [part.ravel() for part in np.array_split(items, min(self.count, len(items)))]
            try:
                return work(parts)
            except Exception as error:
                if not out_of_memory(error):
                    raise
                if len(parts) == len(items):
                    raise DoesNotFitError(
                        f"a single item does not fit in memory ({_first_line(error)}); "
                        "lower the recipe's max_tokens or use a device with more memory"
                    ) from error
            # only here has the error, and with it every tensor of the frames it names, been let go
            gc.collect()
            torch.cuda.empty_cache()
            self.count *= 2


def out_of_memory(error: BaseException) -> bool:
    """Returns whether an allocation was refused, by a GPU or by the machine."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in REFUSALS)


def _first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]
