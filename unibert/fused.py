"""The encoder's pass on a CPU: transformers' BERT with the same parameters and the same rounding, without its waste.

Under autocast a third of a training step went into casts, copies and fresh pages: weights cast at every use, inputs
cast once for each of query, key and value, a dense gradient of the whole vocabulary for a lookup, float32 logits. Here
every weight is cast once a pass, query, key and value are one product, attention keeps what its backward pass needs, a
lookup's gradient is sparse, and the head makes its gradient while the logits are still in cache. The residual stream,
LayerNorm, and everything summed stay in float32, as under autocast.

Legend: B sequences, T tokens, N = B x T, D width, F feed-forward width, H heads, M masked positions, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

CHUNK_ELEMENTS = {"cpu": 1 << 19, "cuda": 1 << 28}  # logits worked on at once: on a CPU, what stays in its cache
SMALLEST = torch.finfo(torch.float32).tiny


class Weights:
    """The compute copies of an encoder's weights, in the precision of its matrix products."""

    def __init__(self, mlm: Any, dtype: torch.dtype) -> None:
        self.dtype = dtype
        self.shared = Shared()
        self.layers = [_Layer(layer, dtype) for layer in mlm.bert.encoder.layer]
        head = mlm.cls.predictions
        self.transform = _Dense([head.transform.dense], dtype)
        self.vocabulary = _Dense([head.decoder], dtype)
        self._every = [dense for layer in self.layers for dense in layer.dense] + [self.transform, self.vocabulary]

    def refresh(self) -> None:
        """Casts every weight. At each pass: torch's fused optimisers change weights without raising their version."""
        for dense in self._every:
            dense.refresh()


class _Dense:
    """One matrix product: the weights of one or more `nn.Linear` of the same input, stacked."""

    def __init__(self, linears: Sequence[nn.Linear], dtype: torch.dtype) -> None:
        self.linears, self.dtype = linears, dtype
        self.masters = [*(x.weight for x in linears), *(x.bias for x in linears)]
        self.sizes = [x.out_features for x in linears]
        self.weight, self.bias = linears[0].weight.detach(), linears[0].bias.detach()
        self.alone = len(linears) == 1 and dtype == self.weight.dtype
        if not self.alone:
            self.weight = torch.empty(sum(self.sizes), linears[0].in_features, dtype=dtype)
            self.bias = torch.empty(sum(self.sizes), dtype=dtype)

    def refresh(self) -> None:
        if not self.alone:
            with torch.no_grad():
                for part, linear in zip(torch.split(self.weight, self.sizes), self.linears, strict=True):
                    part.copy_(linear.weight)
                for part, linear in zip(torch.split(self.bias, self.sizes), self.linears, strict=True):
                    part.copy_(linear.bias)

    def __call__(self, x: Tensor) -> Tensor:
        y: Tensor = _Product.apply(x, self, *self.masters)  # type: ignore[no-untyped-call]
        return y


class _Layer:
    def __init__(self, layer: Any, dtype: torch.dtype) -> None:
        own = layer.attention.self
        self.qkv = _Dense([own.query, own.key, own.value], dtype)
        self.out = _Dense([layer.attention.output.dense], dtype)
        self.up = _Dense([layer.intermediate.dense], dtype)
        self.down = _Dense([layer.output.dense], dtype)
        self.dense = [self.qkv, self.out, self.up, self.down]
        self.norm_attention, self.norm_output = layer.attention.output.LayerNorm, layer.output.LayerNorm


class _Product(torch.autograd.Function):
    """x W^T + b in the precision of W; gradients of the masters come back in theirs."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, dense: _Dense, *masters: Tensor) -> Tensor:
        ctx.dense, ctx.inner_dtype = dense, x.dtype
        x = x.to(dense.dtype)
        ctx.save_for_backward(x)
        return F.linear(x, dense.weight, dense.bias)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Any, ...]:
        (x,) = ctx.saved_tensors
        dense, gradient = ctx.dense, grads[0]
        whole = (gradient.t() @ x).float()
        parts = whole.split(dense.sizes) if len(dense.sizes) > 1 else (whole,)
        ones = torch.ones(1, len(gradient), dtype=gradient.dtype)  # a row sum as a product is the faster reduction
        biases = (ones @ gradient).squeeze(0).float().split(dense.sizes)
        inner = (gradient @ dense.weight).to(ctx.inner_dtype) if ctx.needs_input_grad[0] else None
        return inner, None, *parts, *biases


class _Attention(torch.autograd.Function):
    """softmax(q k^T / 8) v for heads of 64, from stacked (N, 3D) to (N, D); padded keys are attended to by none."""

    @staticmethod
    def forward(ctx: Any, qkv_N3D: Tensor, shape: tuple[int, int], padding_BT: Tensor | None) -> Tensor:
        B, T = shape
        width = qkv_N3D.shape[1] // 3
        heads = width // 64
        q, k, v = qkv_N3D.view(B, T, 3, heads, 64).permute(2, 0, 3, 1, 4).contiguous().view(3, B * heads, T, 64)
        scores = torch.bmm(q, k.transpose(1, 2)).mul_(0.125)
        if padding_BT is not None:
            scores.view(B, heads, T, T).masked_fill_(padding_BT[:, None, None], float("-inf"))
        shares = torch.softmax(scores, -1)
        ctx.save_for_backward(q, k, v, shares)
        ctx.shape = (B, T, heads)
        mixed = torch.bmm(shares, v).view(B, heads, T, 64).transpose(1, 2)
        return mixed.reshape(B * T, width)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Any, ...]:
        q, k, v, shares = ctx.saved_tensors
        B, T, heads = ctx.shape
        out = grads[0].view(B, T, heads, 64).transpose(1, 2).reshape(B * heads, T, 64)
        stacked = torch.empty(3, B * heads, T, 64, dtype=q.dtype)
        torch.bmm(shares.transpose(1, 2), out, out=stacked[2])
        inner = torch._softmax_backward_data(torch.bmm(out, v.transpose(1, 2)), shares, -1, shares.dtype).mul_(0.125)
        torch.bmm(inner, k, out=stacked[0])
        torch.bmm(inner.transpose(1, 2), q, out=stacked[1])
        whole = stacked.view(3, B, heads, T, 64).permute(1, 3, 0, 2, 4).reshape(B * T, 3 * heads * 64)
        return whole, None, None


class _Lookup(torch.autograd.Function):
    """Rows of the vocabulary's vectors. Its gradient joins the head's, whose weights are the same, in one buffer.

    Left to autograd, the two meet as a dense and a sparse tensor and are copied: 240 ms of a step at 120,000 pieces.
    """

    @staticmethod
    def forward(ctx: Any, table_VD: Tensor, tokens_N: Tensor, shared: Shared) -> Tensor:
        ctx.save_for_backward(tokens_N)
        ctx.shared, ctx.shape = shared, table_VD.shape
        return table_VD[tokens_N]

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Any, ...]:
        (tokens_N,) = ctx.saved_tensors
        whole_VD = ctx.shared.take()
        if whole_VD is None:  # a loss without the head
            whole_VD = torch.zeros(ctx.shape)
        return whole_VD.index_add_(0, tokens_N, grads[0]), None, None


class Shared:
    """The head's gradient of the tied vectors, on its way to the lookup, which is differentiated last."""

    def __init__(self) -> None:
        self._held: Tensor | None = None

    def give(self, gradient_VD: Tensor) -> None:
        self._held = gradient_VD if self._held is None else self._held.add_(gradient_VD)

    def take(self) -> Tensor | None:
        held, self._held = self._held, None
        return held


class _HeadLoss(torch.autograd.Function):
    """Summed cross-entropy of x W^T + b. Logits turn into their gradient where they lie, a cache-sized piece at a time.

    The scalar that comes back multiplies vectors (M, D), never the (M, V) matrix.
    """

    @staticmethod
    def forward(ctx: Any, picked_MD: Tensor, targets_M: Tensor, dense: _Dense, shared: Shared, bias: Tensor) -> Tensor:
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


def encode(mlm: Any, weights: Weights, tokens_BT: Tensor, padding_BT: Tensor | None) -> list[Tensor]:
    """Returns the states (N, D) after the embeddings and after each layer, float32; equal to `mlm.bert`'s."""
    B, T = tokens_BT.shape
    table = mlm.bert.embeddings
    flat_N = tokens_BT.flatten()
    rows: Tensor = _Lookup.apply(table.word_embeddings.weight, flat_N, weights.shared)  # type: ignore[no-untyped-call]
    places = table.position_embeddings.weight[:T] + table.token_type_embeddings.weight[0]
    states = [table.LayerNorm(rows.view(B, T, -1) + places).flatten(0, 1)]
    for layer in weights.layers:
        mixed: Tensor = _Attention.apply(layer.qkv(states[-1]), (B, T), padding_BT)  # type: ignore[no-untyped-call]
        state = layer.norm_attention(layer.out(mixed) + states[-1])
        states.append(layer.norm_output(layer.down(F.gelu(layer.up(state))) + state))
    return states


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
