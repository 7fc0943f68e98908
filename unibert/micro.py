"""What one forward pass reads: a batch of token ids, masked, laid out in padded rows or packed end to end.

Legend: B sequences, R rows of T tokens (R = B padded, R = 1 packed), N = R x T tokens in all, M masked positions.

Everything downstream of the encoder works on N flat tokens and the index of the sequence that each belongs to, so it
does not care which layout it was. Masks come from (seed, number of the micro-batch) and nothing else: they are the same
whoever trains on it, in whatever order.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from unibert.batches import Batch
from unibert.masking import corrupt
from unibert.tokenizer import PAD


@dataclass(frozen=True, slots=True, kw_only=True)
class Micro:
    """One micro-batch. `clean_RT` is what `tokens_RT` was before masking; `sequence_N` is B at padding.

    `spans`, of packed rows only, are the lengths of everything in the row: B sequences, then its filling.
    """

    clean_RT: Tensor
    tokens_RT: Tensor
    position_RT: Tensor
    sequence_N: Tensor
    lengths_B: Tensor
    language_B: Tensor
    picked_M: Tensor
    targets_M: Tensor
    spans: Tensor | None = None

    @property
    def packed(self) -> bool:
        """Whether sequences lie end to end in one row."""
        return self.spans is not None

    def to(self, device: str) -> Micro:
        """Returns the same micro-batch on a device."""
        if device.startswith("cpu"):
            return self
        held = {f.name: getattr(self, f.name) for f in fields(self)}
        pinned = {name: tensor.pin_memory() for name, tensor in held.items() if tensor is not None}
        return Micro(**{name: tensor.to(device, non_blocking=True) for name, tensor in pinned.items()})


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """What a step's losses are divided by, over all its micro-batches on all processes."""

    masked: int
    tokens: int
    sequences: int


def padded(batch: Batch, *, rate: float, vocab_size: int, seed: int, number: int) -> Micro:
    """Returns micro-batch `number`, sequences in rows padded to the longest."""
    clean_BT = torch.from_numpy(batch.tokens_BT)
    B, T = clean_BT.shape
    tokens_BT, picked_M, targets_M = corrupt(
        clean_BT, rate=rate, vocab_size=vocab_size, generator=mask_generator(seed, number)
    )
    sequence_BT = torch.arange(B).unsqueeze(1).expand(B, T)
    return Micro(
        clean_RT=clean_BT,
        tokens_RT=tokens_BT,
        position_RT=torch.arange(T).unsqueeze(0).expand(B, T),
        sequence_N=torch.where(clean_BT == PAD, B, sequence_BT).flatten(),
        lengths_B=torch.from_numpy(batch.lengths_B),
        language_B=torch.from_numpy(batch.language_B),
        picked_M=picked_M,
        targets_M=targets_M,
    )


def pack(micro: Micro, size: int) -> Micro:
    """Returns the same micro-batch without its padding: one row of `size` tokens, sequences end to end, the same masks.

    What is left of the row is filled with [PAD] in spans of its own, so that every row has one shape: a compiled
    encoder compiles once.
    """
    real_N = micro.sequence_N < len(micro.lengths_B)
    place_N = real_N.cumsum(0) - 1
    fill = size - int(micro.lengths_B.sum())
    assert fill >= 0, "a batch never exceeds its token budget"
    widest = micro.tokens_RT.shape[1]
    filling = torch.tensor([widest] * (fill // widest) + [fill % widest], dtype=torch.long)

    def kept(values_RT: Tensor, value: int = 0) -> Tensor:
        return torch.nn.functional.pad(values_RT.flatten()[real_N], (0, fill), value=value)

    return Micro(
        clean_RT=kept(micro.clean_RT, PAD).unsqueeze(0),
        tokens_RT=kept(micro.tokens_RT, PAD).unsqueeze(0),
        position_RT=kept(micro.position_RT).unsqueeze(0),
        sequence_N=kept(micro.sequence_N, len(micro.lengths_B)),
        lengths_B=micro.lengths_B,
        language_B=micro.language_B,
        picked_M=place_N[micro.picked_M],
        targets_M=micro.targets_M,
        spans=torch.cat([micro.lengths_B, filling]),
    )


def mask_generator(seed: int, number: int) -> torch.Generator:
    """Returns the generator that masks micro-batch `number` of a run."""
    words = np.random.SeedSequence([seed, number]).generate_state(2, np.uint32)
    return torch.Generator().manual_seed(int(words[0]) << 31 | int(words[1]) >> 1)


def pool(hidden_ND: Tensor, sequence_N: Tensor, lengths_B: Tensor) -> Tensor:
    """Returns each sequence's mean over its tokens, [CLS] and [SEP] included, as float32 (B, D)."""
    sums_BD = torch.zeros(len(lengths_B) + 1, hidden_ND.shape[1], device=hidden_ND.device)
    sums_BD = sums_BD.index_add(0, sequence_N, hidden_ND.float())
    return sums_BD[:-1] / lengths_B.unsqueeze(1)
