"""Attention over sequences packed end to end in one row, which never crosses from one into the next.

It is registered with transformers' attention interface, its mask function too: without that one, transformers builds no
mask for a name it does not know and says nothing. On a GPU it is torch's variable-length flash kernel. Elsewhere a
block-diagonal mask gives the same numbers slowly, so that the layout can be tested anywhere.

Legend: N packed tokens, H heads, B sequences.
"""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

NAME = "unibert_packed"


def attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    bounds: Tensor | None = None,
    longest: int = 0,
    scaling: float | None = None,
    dropout: float = 0.0,
    **rest: Any,
) -> tuple[Tensor, None]:
    """Returns attended values (1, N, H, 64) of queries, keys and values (1, H, N, 64).

    `bounds` (B + 1, int32) are the sequences' ends, from 0; `longest` is at least the longest sequence. Without bounds
    the rows are padded ones, as in evaluation, and attention is transformers' own.
    """
    if bounds is None:
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        mixed, _ = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **rest
        )
        return mixed, None
    if dropout and query.is_cuda:
        raise ValueError(f"attention dropout {dropout}: torch's variable-length kernel has none; use padded rows")
    if query.is_cuda:
        from torch.nn.attention.varlen import varlen_attn

        # LayerNorm leaves float32 under autocast only where a projection does not follow; the kernel takes 16 bits.
        q, k, v = (x[0].transpose(0, 1).to(torch.bfloat16) for x in (query, key, value))
        mixed = cast(Tensor, varlen_attn(q, k, v, bounds, bounds, longest, longest, scale=scaling))
        return mixed.to(query.dtype).unsqueeze(0), None
    place_N = torch.arange(query.shape[2], device=query.device)
    sequence_N = torch.searchsorted(bounds[1:], place_N, right=True)
    same_NN = sequence_N[:, None] == sequence_N
    mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=same_NN, dropout_p=dropout, scale=scaling)
    return mixed.transpose(1, 2).contiguous(), None


def supported(device: str, *, bf16: bool) -> bool:
    """Returns whether packed rows are the fast way here: a GPU that torch's kernel runs on, and 16-bit products."""
    return bf16 and device.startswith("cuda") and torch.cuda.get_device_capability(device) >= (8, 0)


def register() -> None:
    """Makes NAME an attention implementation of transformers."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(NAME, attention)
    AttentionMaskInterface.register(NAME, sdpa_mask)


def bounds(lengths_B: Tensor) -> Tensor:
    """Returns the ends of sequences laid end to end, from 0: (B + 1,) int32."""
    return F.pad(lengths_B.cumsum(0), (1, 0)).to(torch.int32)
