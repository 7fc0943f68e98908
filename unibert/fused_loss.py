"""The masked-LM head on a CPU: logits become their gradient where they lie, while they are in cache.

Legend: D width, M masked positions, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from unibert.fused import Dense, Shared, Weights

CHUNK_ELEMENTS = {"cpu": 1 << 19, "cuda": 1 << 28}  # logits worked on at once: on a CPU, what stays in its cache
SMALLEST = torch.finfo(torch.float32).tiny


class _HeadLoss(torch.autograd.Function):
    """Summed cross-entropy of x W^T + b. Logits turn into their gradient where they lie, a cache-sized piece at a time.

    The scalar that comes back multiplies vectors (M, D), never the (M, V) matrix.
    """

    @staticmethod
    def forward(ctx: Any, picked_MD: Tensor, targets_M: Tensor, dense: Dense, shared: Shared, bias: Tensor) -> Tensor:
        picked_MD = picked_MD.to(dense.dtype)
        work_MV = F.linear(picked_MD, dense.weight, dense.bias)
        losses_M = _into_gradient(work_MV, targets_M, work_MV)
        ctx.dense, ctx.shared = dense, shared
        ctx.save_for_backward(picked_MD, work_MV)
        return losses_M.sum()

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Any, ...]:
        picked_MD, work_MV = ctx.saved_tensors
        scale = grads[0].to(picked_MD.dtype)
        ctx.shared.give((work_MV.t() @ (picked_MD * scale)).float())
        ones = torch.ones(1, len(work_MV), dtype=work_MV.dtype)
        return (work_MV @ ctx.dense.weight).float() * grads[0], None, None, None, (ones @ work_MV)[0].float() * grads[0]


class _CrossEntropySum(torch.autograd.Function):
    """Summed cross-entropy of logits that others need too; their gradient is made in the forward pass."""

    @staticmethod
    def forward(ctx: Any, logits_MV: Tensor, targets_M: Tensor) -> Tensor:
        gradient_MV = torch.empty_like(logits_MV)
        losses_M = _into_gradient(logits_MV, targets_M, gradient_MV)
        ctx.save_for_backward(gradient_MV)
        return losses_M.sum()

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Any, ...]:
        (gradient_MV,) = ctx.saved_tensors
        return gradient_MV * grads[0].to(gradient_MV.dtype), None


def _into_gradient(logits_MV: Tensor, targets_M: Tensor, out_MV: Tensor) -> Tensor:
    """Writes softmax minus one-hot to `out_MV`, which may be the logits; returns each position's loss in nats."""
    M, V = logits_MV.shape
    rows = max(1, CHUNK_ELEMENTS[logits_MV.device.type] // V)
    work = torch.empty(min(rows, M), V, device=logits_MV.device)
    losses_M = torch.empty(M, device=logits_MV.device)
    less = torch.full((min(rows, M), 1), -1.0, device=logits_MV.device)
    for start in range(0, M, rows):
        target = targets_M[start : start + rows, None]
        piece = work[: len(target)].copy_(logits_MV[start : start + rows])
        piece = torch.softmax(piece, -1, out=piece if piece.device.type == "cpu" else None)
        # Below the least float32 the loss stands still at 87 nats; its gradient is right all the same.
        losses_M[start : start + rows] = -piece.gather(1, target).squeeze(1).clamp_min(SMALLEST).log()
        out_MV[start : start + rows] = piece.scatter_add_(1, target, less[: len(target)])
    return losses_M


def cross_entropy_sum(logits_MV: Tensor, targets_M: Tensor) -> Tensor:
    """Returns the summed cross-entropy (a float32 scalar) of logits in any precision, on any device."""
    loss: Tensor = _CrossEntropySum.apply(logits_MV, targets_M)  # type: ignore[no-untyped-call]
    return loss


def logits(mlm: Any, weights: Weights, picked_MD: Tensor) -> Tensor:
    """Returns the masked-LM head's logits (M, V), in the precision of the products."""
    return weights.vocabulary(_transformed(mlm, weights, picked_MD))


def head_loss(mlm: Any, weights: Weights, picked_MD: Tensor, targets_M: Tensor) -> Tensor:
    """Returns the summed cross-entropy of the head, a float32 scalar, without keeping logits.

    Its gradient of the tied vectors arrives with `encode`'s: differentiate both together.
    """
    inner_MD = _transformed(mlm, weights, picked_MD)
    bias = mlm.cls.predictions.decoder.bias
    loss: Tensor = _HeadLoss.apply(inner_MD, targets_M, weights.vocabulary, weights.shared, bias)  # type: ignore[no-untyped-call]
    return loss


def _transformed(mlm: Any, weights: Weights, picked_MD: Tensor) -> Tensor:
    transform = mlm.cls.predictions.transform
    inner_MD: Tensor = transform.LayerNorm(F.gelu(weights.transform(picked_MD)).float())
    return inner_MD
