"""The processes that train one run together, through accelerate; alone, everything here is the identity.

Every process holds the same weights, optimiser and discriminator, trains on its own micro-batches, and adds its
gradients to the others' once a step, in one flat buffer. (DistributedDataParallel's hooks would miss the adversary's
gradient, which is taken apart from the others' because its own norm is needed.)
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from datetime import timedelta

import torch
from torch import Tensor

WAIT = timedelta(days=7)  # others wait while the first tokenises a corpus


class Processes:
    """`rank` of `world`, and what they exchange."""

    def __init__(self, device: str = "cpu") -> None:
        self.rank, self.world, self.device = 0, 1, device
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            from accelerate import PartialState

            on_cpu = device.startswith("cpu")
            if on_cpu:
                os.environ["ACCELERATE_USE_CPU"] = "true"  # `torchrun` does not set what `accelerate launch --cpu` does
            state = PartialState(cpu=on_cpu, backend="gloo" if on_cpu else "nccl", timeout=WAIT)
            self.rank, self.world = state.process_index, state.num_processes
            self.device = "cpu" if on_cpu else str(state.device)

    @property
    def first(self) -> bool:
        """Whether this process writes files and speaks."""
        return self.rank == 0

    def sum_(self, tensors: Sequence[Tensor]) -> None:
        """Replaces float32 tensors by their sums over all processes."""
        if self.world == 1 or not tensors:
            return
        from accelerate.utils import reduce

        flat = torch.cat([tensor.reshape(-1).float() for tensor in tensors])
        flat = reduce(flat, "sum")
        for tensor, part in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(part.view_as(tensor))

    def agree(self, values: Sequence[float]) -> list[float]:
        """Returns the first process's values, in all of them."""
        if self.world == 1:
            return list(values)
        from accelerate.utils import broadcast

        held = torch.tensor(list(values), dtype=torch.float64, device=self.device)
        return [float(value) for value in broadcast(held)]

    @contextlib.contextmanager
    def first_then_others(self) -> Iterator[None]:
        """Runs a block in the first process, then, when what it writes is there, in the others."""
        if self.world > 1 and not self.first:
            self.wait()
        yield
        if self.world > 1 and self.first:
            self.wait()

    def wait(self) -> None:
        """Returns when every process has come here."""
        if self.world > 1:
            from accelerate.utils import wait_for_everyone

            wait_for_everyone()

    def close(self) -> None:
        """Parts from the others; nothing can be exchanged after it."""
        if self.world > 1:
            from accelerate import PartialState

            PartialState().destroy_process_group()
