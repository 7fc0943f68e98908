"""The encoder's pass on a CPU: transformers' BERT with the same parameters and the same rounding, without its waste.

Under autocast a third of a training step went into casts, copies and fresh pages: weights cast at every use, inputs
cast once for each of query, key and value, a dense gradient of the whole vocabulary for a lookup, float32 logits. Here
every weight is cast once a pass, query, key and value are one product, attention keeps what its backward pass needs, a
lookup's gradient is sparse, and dropout draws 16 bits where torch draws 64. The residual stream,
LayerNorm, and everything summed stay in float32, as under autocast.

Legend: B sequences, T tokens, N = B x T, D width, F feed-forward width, H heads, M masked positions, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn


class Weights:
    """The compute copies of an encoder's weights, in the precision of its matrix products."""

    def __init__(self, mlm: Any, dtype: torch.dtype) -> None:
        self.dtype = dtype
        self.shared = Shared()
        self.layers = layers_of(mlm.bert, dtype)
        head = mlm.cls.predictions
        self.transform = Dense([head.transform.dense], dtype)
        self.vocabulary = Dense([head.decoder], dtype)
        self._others = (self.transform, self.vocabulary)

    def refresh(self) -> None:
        """Casts every weight. At each pass: torch's fused optimisers change weights without raising their version."""
        for dense in (*(dense for layer in self.layers for dense in layer.dense), *self._others):
            dense.refresh()


class Dense:
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
        if self.alone:  # the weights themselves, wherever they lie by now
            self.weight, self.bias = self.linears[0].weight.detach(), self.linears[0].bias.detach()
            return
        with torch.no_grad():
            for part, linear in zip(torch.split(self.weight, self.sizes), self.linears, strict=True):
                part.copy_(linear.weight)
            for part, linear in zip(torch.split(self.bias, self.sizes), self.linears, strict=True):
                part.copy_(linear.bias)

    def __call__(self, x: Tensor) -> Tensor:
        y: Tensor = _Product.apply(x, self, *self.masters)  # type: ignore[no-untyped-call]
        return y


class Layer:
    """One layer of a BERT or RoBERTa: its four products, its two norms, the number of its heads."""

    def __init__(self, layer: Any, heads: int, dtype: torch.dtype) -> None:
        own = layer.attention.self
        self.qkv = Dense([own.query, own.key, own.value], dtype)
        self.out = Dense([layer.attention.output.dense], dtype)
        self.up = Dense([layer.intermediate.dense], dtype)
        self.down = Dense([layer.output.dense], dtype)
        self.dense = [self.qkv, self.out, self.up, self.down]
        self.heads = heads
        self.norm_attention, self.norm_output = layer.attention.output.LayerNorm, layer.output.LayerNorm


def layers_of(bert: Any, dtype: torch.dtype) -> list[Layer]:
    """Returns the layers of a transformers encoder built as BERT is, for products in `dtype`."""
    return [Layer(layer, bert.config.num_attention_heads, dtype) for layer in bert.encoder.layer]


class _Product(torch.autograd.Function):
    """x W^T + b in the precision of W; gradients of the masters come back in theirs."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, dense: Dense, *masters: Tensor) -> Tensor:
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
    """softmax(q k^T / sqrt(W)) v for heads of width W, from stacked (N, 3D) to (N, D).

    Padded keys are attended to by none. With a `rate`, that share of the softmax's entries is dropped.
    """

    @staticmethod
    def forward(
        ctx: Any, qkv_N3D: Tensor, shape: tuple[int, int, int], padding_BT: Tensor | None, rate: float
    ) -> Tensor:
        B, T, heads = shape
        width = qkv_N3D.shape[1] // 3
        W = width // heads
        q, k, v = qkv_N3D.view(B, T, 3, heads, W).permute(2, 0, 3, 1, 4).contiguous().view(3, B * heads, T, W)
        scores = torch.bmm(q, k.transpose(1, 2)).mul_(W**-0.5)
        if padding_BT is not None:
            scores.view(B, heads, T, T).masked_fill_(padding_BT[:, None, None], torch.finfo(scores.dtype).min)
        shares = torch.softmax(scores, -1)
        ctx.shape, ctx.mask = (B, T, heads, W), None
        used = shares
        if rate:
            ctx.mask, ctx.scale = dropped(shares.shape, rate)
            used = kept(shares * ctx.scale, ctx.mask)
        ctx.save_for_backward(q, k, v, shares, used)
        mixed = torch.bmm(used, v).view(B, heads, T, W).transpose(1, 2)
        return mixed.reshape(B * T, width)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Any, ...]:
        q, k, v, shares, used = ctx.saved_tensors
        B, T, heads, W = ctx.shape
        out = grads[0].view(B, T, heads, W).transpose(1, 2).reshape(B * heads, T, W)
        stacked = torch.empty(3, B * heads, T, W, dtype=q.dtype)
        torch.bmm(used.transpose(1, 2), out, out=stacked[2])
        into = torch.bmm(out, v.transpose(1, 2))
        if ctx.mask is not None:
            into = kept(into.mul_(ctx.scale), ctx.mask)
        inner = torch._softmax_backward_data(into, shares, -1, shares.dtype).mul_(W**-0.5)
        torch.bmm(inner, k, out=stacked[0])
        torch.bmm(inner.transpose(1, 2), q, out=stacked[1])
        whole = stacked.view(3, B, heads, T, W).permute(1, 3, 0, 2, 4).reshape(B * T, 3 * heads * W)
        return whole, None, None, None


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


def encode(mlm: Any, weights: Weights, tokens_BT: Tensor, padding_BT: Tensor | None) -> list[Tensor]:
    """Returns the states (N, D) after the embeddings and after each layer, float32; equal to `mlm.bert`'s."""
    B, T = tokens_BT.shape
    table = mlm.bert.embeddings
    flat_N = tokens_BT.flatten()
    rows: Tensor = _Lookup.apply(table.word_embeddings.weight, flat_N, weights.shared)  # type: ignore[no-untyped-call]
    places = table.position_embeddings.weight[:T] + table.token_type_embeddings.weight[0]
    states = [table.LayerNorm(rows.view(B, T, -1) + places).flatten(0, 1)]
    for layer in weights.layers:
        states.append(through(layer, states[-1], (B, T), padding_BT))
    return states


def through(
    layer: Layer,
    state_ND: Tensor,
    shape: tuple[int, int],
    padding_BT: Tensor | None,
    *,
    attention_drop: float = 0.0,
    hidden_drop: float = 0.0,
) -> Tensor:
    """Returns the states (N, D) after a layer, float32; dropout draws from torch's global generator."""
    B, T = shape
    qkv_N3D = layer.qkv(state_ND)
    mixed: Tensor = _Attention.apply(qkv_N3D, (B, T, layer.heads), padding_BT, attention_drop)  # type: ignore[no-untyped-call]
    state_ND = layer.norm_attention(_added(layer.out(mixed), state_ND, hidden_drop))
    out_ND: Tensor = layer.norm_output(_added(layer.down(F.gelu(layer.up(state_ND))), state_ND, hidden_drop))
    return out_ND


def dropped(shape: Sequence[int], rate: float) -> tuple[Tensor, float]:
    """Returns a mask for `kept`, 0 with probability `rate` (in steps of 1/32768), else -1; and what scales up the rest.

    Four decisions are cut from each 64 random bits, where torch's own dropout draws a float64 for each. Masks are
    integers of 16 bits, all set where a number is kept: AND runs at the memory's pace, booleans at a tenth of it.
    """
    count, share = math.prod(shape), round(rate * 32768)
    bits = torch.empty(-(-count // 4), dtype=torch.int64).random_(-(2**63), None)
    mask = bits.view(torch.int16)[:count].view(tuple(shape))
    mask.bitwise_right_shift_(1).neg_().add_(share - 16384 - 1).clamp_(-1, 0)  # 15 bits, so that nothing overflows
    return mask, 32768 / (32768 - share)


def kept(x: Tensor, mask: Tensor) -> Tensor:
    """Returns x where the mask keeps it, else 0; x may be overwritten."""
    if x.dtype == torch.bfloat16:
        return x.view(torch.int16).bitwise_and_(mask).view(torch.bfloat16)
    return x.view(torch.int32).bitwise_and_(mask.int()).view(torch.float32)


class _DropAdd(torch.autograd.Function):
    """residual + dropout(x), in the residual's precision; x is overwritten."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, residual: Tensor, rate: float) -> Tensor:
        ctx.mask, ctx.scale = dropped(x.shape, rate)
        ctx.dtype = x.dtype
        return torch.add(residual, kept(x, ctx.mask), alpha=ctx.scale)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Any, ...]:
        return kept((grads[0] * ctx.scale).to(ctx.dtype), ctx.mask), grads[0], None


def _added(x: Tensor, residual: Tensor, rate: float) -> Tensor:
    if not rate:
        return x + residual
    out: Tensor = _DropAdd.apply(x, residual, rate)  # type: ignore[no-untyped-call]
    return out
