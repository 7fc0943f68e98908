"""Masked-LM corruption as one pure function of (tokens, generator).

Devlin et al. 2019: of the chosen positions 80% become [MASK], 10% a random piece, 10% stay.

Legend: B sequences, T tokens, M masked positions.
"""

from __future__ import annotations

import torch
from torch import Tensor

from unibert.tokenizer import FIRST_PIECE, MASK


def corrupt(
    tokens_BT: Tensor, *, rate: float, vocab_size: int, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns corrupted tokens (B, T), the flat indices of masked positions (M,) ascending, and their targets (M,).

    Special tokens are neither masked nor drawn as replacements. At least one position is masked, so that a loss over
    M positions exists for every batch. Tokens and generator are on the CPU: same seed, same bytes, on every device.
    """
    ordinary_BT = tokens_BT >= FIRST_PIECE
    draw_BT = torch.rand(tokens_BT.shape, generator=generator)
    draw_BT[~ordinary_BT] = 2.0
    picked_M = (draw_BT.flatten() < rate).nonzero().squeeze(1)
    if picked_M.numel() == 0:
        picked_M = draw_BT.flatten().argmin().unsqueeze(0)
    targets_M = tokens_BT.flatten()[picked_M]
    action_M = torch.rand(picked_M.shape, generator=generator)
    random_M = torch.randint(FIRST_PIECE, vocab_size, picked_M.shape, generator=generator)
    replaced_M = torch.where(action_M < 0.8, torch.full_like(targets_M, MASK), random_M)
    replaced_M = torch.where(action_M < 0.9, replaced_M, targets_M)
    corrupted_BT = tokens_BT.flatten().clone()
    corrupted_BT[picked_M] = replaced_M
    return corrupted_BT.view_as(tokens_BT), picked_M, targets_M
