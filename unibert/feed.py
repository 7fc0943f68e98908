"""Optimiser steps' worth of micro-batches: which process trains on which, and what their losses are divided by.

A step is the next `micro_batches` of the stream; number i goes to process i mod world. Every process draws and masks
all of them, which costs little and spares every exchange: the totals are known to all, and the stream's position is
one position, however many processes read it.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from unibert.batches import Batches, Position
from unibert.config import TrainConfig
from unibert.micro import Micro, Totals, pack, padded


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """This process's (number, micro-batch) pairs of one step, the totals of all, and where the stream stands after."""

    micros: list[tuple[int, Micro]]
    totals: Totals
    sizes: tuple[int, ...]  # sequences in each micro-batch of the step, whoever trains on it
    number: int
    position: Position


class Feed:
    """An endless, resumable iterator of steps; `position` and `number` are where the last one ended."""

    def __init__(
        self,
        batches: Batches,
        config: TrainConfig,
        vocab_size: int,
        *,
        rank: int = 0,
        world: int = 1,
        device: str = "cpu",
        packed: bool = False,
    ) -> None:
        assert config.micro_batches is not None, "settled before training"
        assert config.micro_batches % world == 0, "checked before training"
        self.batches, self.config, self.vocab_size = batches, config, vocab_size
        self.rank, self.world, self.packed = rank, world, packed
        self.number, self.position = 0, batches.position
        # Drawing and masking overlap the step on a GPU; on a CPU they would only take its cores.
        self._ahead = ThreadPoolExecutor(1) if device.startswith("cuda") else None
        self._next: Future[Step] | None = None

    def __next__(self) -> Step:
        if self._ahead is None:
            step = self._make(self.number)
        else:
            waiting = self._next if self._next is not None else self._ahead.submit(self._make, self.number)
            step = waiting.result()
            self._next = self._ahead.submit(self._make, step.number)
        self.number, self.position = step.number, step.position
        return step

    def seek(self, position: Position, number: int) -> None:
        """Makes the step that begins at `position` with micro-batch `number` the next one."""
        if self._next is not None:
            self._next.result()
            self._next = None
        self.batches.seek(position)
        self.number, self.position = number, position

    def _make(self, number: int) -> Step:
        config = self.config
        assert config.micro_batches is not None
        mine: list[tuple[int, Micro]] = []
        masked = tokens = 0
        sizes = []
        for i in range(config.micro_batches):
            micro = padded(
                next(self.batches),
                rate=config.mask_rate,
                vocab_size=self.vocab_size,
                seed=config.seed,
                number=number + i,
            )
            masked += len(micro.targets_M)
            tokens += int(micro.lengths_B.sum())
            sizes.append(len(micro.lengths_B))
            if i % self.world == self.rank:
                if self.packed:
                    micro = pack(micro, self.batches.batch_tokens)
                mine.append((number + i, micro))
        return Step(
            micros=mine,
            totals=Totals(masked=masked, tokens=tokens, sequences=sum(sizes)),
            sizes=tuple(sizes),
            number=number + config.micro_batches,
            position=self.batches.position,
        )
