"""The language adversary (gradient reversal and its schedule) and distillation; `fused` has masked LM's own loss.

Every loss is a float32 sum in nats over its units (masked positions, real tokens, sequences or vectors; cosine and
matching distances have no unit): whoever adds up micro-batches divides by their totals. Nothing here waits for the
device, but for one length in `relation_loss` on packed rows.

Legend: B sequences, T tokens, N flat tokens, X vectors an adversary reads, M masked positions, D width, V vocabulary,
L languages, K classes kept of a teacher's distribution, H heads of width W.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from unibert.errors import UserError
from unibert.micro import Micro

# Numbers worked on at once where a whole float32 copy would not fit: a few megabytes stay in a CPU's cache, a GPU
# wants fewer launches.
PIECE_CPU, PIECE_GPU = 1 << 20, 1 << 27
SENTENCE_TEMPERATURE = 0.05  # of cosines, as in contrastive training of sentence vectors (Gao et al. 2021)


class _Reverse(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: float) -> Tensor:
        ctx.scale = scale
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor, None]:
        return -ctx.scale * grads[0], None


def gradient_reversal(x: Tensor, scale: float = 1.0) -> Tensor:
    """Returns `x` unchanged; its gradient comes back multiplied by -scale (Ganin et al. 2016, eq. 18)."""
    reversed_: Tensor = _Reverse.apply(x, scale)  # type: ignore[no-untyped-call]
    return reversed_


def ganin_ramp(progress: float) -> float:
    """Returns 2 / (1 + exp(-10 p)) - 1 for progress p clipped to 0..1 (Ganin et al. 2016, section 5.2.2)."""
    p = min(max(progress, 0.0), 1.0)
    return 2.0 / (1.0 + math.exp(-10.0 * p)) - 1.0


class Discriminator(nn.Module):
    """Guesses the language of a vector.

    LayerNorm on the input takes away the encoder's cheapest answer, which is to shrink or inflate its vectors.
    """

    def __init__(self, width: int, languages: int, hidden: int) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.LayerNorm(width, elementwise_affine=False),
            nn.Linear(width, hidden),
            nn.GELU(),
            nn.Linear(hidden, hidden),
            nn.GELU(),
            nn.Linear(hidden, languages),
        )

    def forward(self, vectors_XD: Tensor) -> Tensor:
        """Returns language logits (X, L)."""
        logits_XL: Tensor = self.net(vectors_XD)
        return logits_XL


def language_loss(logits_XL: Tensor, language_X: Tensor, weight_L: Tensor) -> Tensor:
    """Returns the class-weighted cross-entropy of the language, summed over vectors.

    Where weights average 1 under the language mix, X ln L is a discriminator that knows nothing.
    """
    return F.cross_entropy(_float(logits_XL), language_X, weight=weight_L, reduction="sum")


def uniform_loss(logits_XL: Tensor, weight_X: Tensor) -> Tensor:
    """Returns KL(uniform || softmax), weighted and summed over vectors: zero where a discriminator can't say a thing.

    Its gradient vanishes there, which a reversed one's does not (the "confusion" loss of Tzeng et al. 2015).
    """
    log_XL = F.log_softmax(_float(logits_XL), dim=-1)
    return (weight_X * (-log_XL.mean(-1) - math.log(log_XL.shape[-1]))).sum()


def matching_loss(vectors_XD: Tensor, language_X: Tensor, languages: int) -> Tensor:
    """Returns X times the mean squared distance, per dimension, of each language's mean from the mean of those means.

    Means are of LayerNorm'ed vectors, so shrinking is no answer; every language present counts alike, even with one
    vector. The spread of few vectors moves their mean, so the loss presses on that as well: watch the effective rank.
    One language alone gives zero, and a zero gradient. A linear maximum mean discrepancy (Gretton et al. 2012).
    """
    scaled_XD = F.layer_norm(_float(vectors_XD), vectors_XD.shape[-1:])
    counts_L = scaled_XD.new_zeros(languages).index_add(0, language_X, scaled_XD.new_ones(len(language_X)))
    sums_LD = scaled_XD.new_zeros(languages, scaled_XD.shape[1]).index_add(0, language_X, scaled_XD)
    means_LD = sums_LD / counts_L.clamp_min(1.0).unsqueeze(1)
    share_L1 = ((counts_L > 0) / (counts_L > 0).sum()).unsqueeze(1)
    centre_D = (share_L1 * means_LD).sum(0)
    return len(vectors_XD) * (share_L1 * (means_LD - centre_D).square()).sum() / scaled_XD.shape[1]


class _Pieces(torch.autograd.Function):
    """A sum over rows; its gradient is made in the forward pass, so that what a piece of rows needs goes with it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, loss_of: Callable[[Tensor, slice], Tensor], rows: int) -> Tensor:
        gradient = torch.empty_like(x)
        total = torch.zeros((), dtype=torch.promote_types(x.dtype, torch.float32), device=x.device)
        for start in range(0, len(x), rows):
            part = slice(start, start + rows)
            with torch.enable_grad():
                piece = x[part].detach().requires_grad_()
                loss = loss_of(piece, part)
            (gradient[part],) = torch.autograd.grad(loss, piece)
            total += loss.detach()
        ctx.save_for_backward(gradient)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Any, ...]:
        (gradient,) = ctx.saved_tensors
        return gradient * grads[0].to(gradient.dtype), None, None


def _by_pieces(x: Tensor, loss_of: Callable[[Tensor, slice], Tensor], row_elements: int) -> Tensor:
    rows = max(1, (PIECE_GPU if x.is_cuda else PIECE_CPU) // row_elements)
    total: Tensor = _Pieces.apply(x, loss_of, rows)  # type: ignore[no-untyped-call]
    return total


def soft_target_loss(logits_MV: Tensor, teacher_MV: Tensor, temperature: float) -> Tensor:
    """Returns T^2 KL(teacher || student) of tempered distributions, summed over M (Hinton et al. 2015).

    Beside both logits, only their gradient is as large as they are, in their own precision.
    """

    def loss_of(piece: Tensor, part: slice) -> Tensor:
        student = F.log_softmax(_float(piece) / temperature, dim=-1)
        teacher = F.log_softmax(_float(teacher_MV[part]) / temperature, dim=-1)
        return F.kl_div(student, teacher, reduction="sum", log_target=True) * temperature**2

    return _by_pieces(logits_MV, loss_of, logits_MV.shape[1])


def soft_target_topk_loss(
    logits_MV: Tensor, values_MK: Tensor, index_MK: Tensor, rest_M: Tensor, temperature: float
) -> Tensor:
    """Returns T^2 KL(teacher || student) over K classes and one bucket for all others, summed over M.

    `values_MK` are the teacher's log-probabilities of the (distinct) classes `index_MK` at this temperature, `rest_M`
    its log of all others' mass (-inf or very small where there is none); they are normalised again, against rounding.
    Merging classes never raises a KL, so this is a lower bound on `soft_target_loss`, and equal to it where K = V.
    """
    whole = index_MK.shape[1] == logits_MV.shape[1]

    def loss_of(piece: Tensor, part: slice) -> Tensor:
        log_student = F.log_softmax(_float(piece) / temperature, dim=-1)
        index, kept = index_MK[part].long(), _float(values_MK[part])
        student = log_student.gather(1, index)
        if not whole:
            # 1 - sum would lose the rest's digits where the top classes hold nearly everything.
            others = log_student.scatter(1, index, -math.inf).logsumexp(1, keepdim=True)
            student = torch.cat([student, others], 1)
            kept = torch.cat([kept, _float(rest_M[part]).unsqueeze(1)], 1)
        return F.kl_div(student, kept.softmax(-1), reduction="sum") * temperature**2

    return _by_pieces(logits_MV, loss_of, logits_MV.shape[1])


def hidden_cosine_loss(hidden_ND: Tensor, teacher_ND: Tensor, real_N: Tensor) -> Tensor:
    """Returns 1 - cosine between hidden states, summed over real tokens (DistilBERT: Sanh et al. 2019).

    Deviation: the caller projects the student's states where widths differ, which DistilBERT never needs.
    """
    cosine_N = F.cosine_similarity(_float(hidden_ND), _float(teacher_ND), dim=-1)
    return ((1.0 - cosine_N) * real_N).sum()


def relation_loss(student_qkv: Sequence[Tensor], teacher_qkv: Sequence[Tensor], micro: Micro, *, heads: int) -> Tensor:
    """Returns KL(teacher || student) between self-relations of queries, of keys and of values, summed over real tokens.

    A relation is softmax(A A^T / sqrt(width of a head)) within one sequence, for each of `heads` heads into which both
    widths are cut alike; the three relations and the heads are averaged (MiniLMv2: Wang et al. 2021, section 3.1).
    Tensors are (N, D) of the micro-batch's flat tokens; only the widths of student and teacher may differ.
    """
    for name, (matrix_ND, *_) in (("student", student_qkv), ("teacher", teacher_qkv)):
        if matrix_ND.shape[1] % heads:
            raise UserError(f"{heads} relation heads do not divide the {name}'s width {matrix_ND.shape[1]}")
    index_BT, real_BT = _rows(micro)
    T = index_BT.shape[1]

    def cut(matrices: Sequence[Tensor]) -> Tensor:
        flat = torch.stack([matrix_ND.reshape(len(matrix_ND), heads, -1) for matrix_ND in matrices], 1)
        return flat[index_BT].permute(0, 2, 3, 1, 4)  # (B, 3, H, T, W)

    def relation(cut_B3HTW: Tensor, part: slice) -> Tensor:
        scaled = _float(cut_B3HTW) / math.sqrt(cut_B3HTW.shape[-1])
        scores = scaled @ _float(cut_B3HTW).transpose(-1, -2)
        # A finite floor: -inf - -inf would be no number, and a share of 0 times -1e9 is still 0.
        return F.log_softmax(scores.masked_fill(~real_BT[part, None, None, None], -1e9), dim=-1)

    teacher = cut([matrix_ND.detach() for matrix_ND in teacher_qkv])

    def loss_of(piece: Tensor, part: slice) -> Tensor:
        theirs = relation(teacher[part], part)
        gaps = F.kl_div(relation(piece, part), theirs, reduction="none", log_target=True).sum(-1)
        return (gaps * real_BT[part, None, None]).sum() / (3 * heads)

    return _by_pieces(cut(student_qkv), loss_of, 3 * heads * T * T)


def _rows(micro: Micro) -> tuple[Tensor, Tensor]:
    """Returns the flat index (B, T) of every sequence's tokens, and which of them are real."""
    B, device = len(micro.lengths_B), micro.lengths_B.device
    if micro.packed:
        T = int(micro.lengths_B.max())  # waits for the device, once
        start_B = micro.lengths_B.cumsum(0) - micro.lengths_B
    else:
        T = len(micro.sequence_N) // B
        start_B = torch.arange(B, device=device) * T
    offset_T = torch.arange(T, device=device)
    index_BT = start_B.unsqueeze(1) + offset_T
    return index_BT.clamp_max(len(micro.sequence_N) - 1), offset_T < micro.lengths_B.unsqueeze(1)


def sentence_relation_loss(student_BD: Tensor, teacher_BD: Tensor, temperature: float = SENTENCE_TEMPERATURE) -> Tensor:
    """Returns KL(teacher || student) between how each sequence's vector is near to the others', summed over B.

    Near: softmax over the other sequences of the micro-batch of cosine / temperature. Rotations of either space, their
    widths and their vocabularies do not matter. Zero below three sequences, where there is nothing to compare. The
    normalised form of similarity-preserving distillation (Tung and Mori 2019).
    """
    B = len(student_BD)
    if B < 3:
        return _float(student_BD).sum() * 0.0

    def near(vectors_BD: Tensor) -> Tensor:
        unit_BD = F.normalize(_float(vectors_BD), dim=-1)
        cosine_BB = unit_BD @ unit_BD.T
        others = cosine_BB.flatten()[1:].view(B - 1, B + 1)[:, :-1].reshape(B, B - 1)  # without the diagonal
        return F.log_softmax(others / temperature, dim=-1)

    return F.kl_div(near(student_BD), near(teacher_BD.detach()), reduction="sum", log_target=True)


def add_balanced(
    parameters: Sequence[nn.Parameter],
    adversarial: Sequence[Tensor | None],
    *,
    share: float | None,
    clip_norm: float,
    strength: float = 1.0,
) -> tuple[Tensor, Tensor, Tensor]:
    """Adds the adversary's gradient to `.grad`, scaled to `share` times the norm of what stands there.

    Norms are over all `parameters` together, so the balance holds in parameter space: balancing at the pooled vectors
    let the gradient norm grow more than tenfold. With `share` None the gradient is clipped to `clip_norm` on its own
    and added `strength` times (a share sets its norm in any case). One that is not finite adds nothing.

    Returns, as tensors, so that nothing waits for them: the factor applied; the adversary's norm over the others', as
    both came; whether it was finite.
    """
    pairs = [(p, g) for p, g in zip(parameters, adversarial, strict=True) if g is not None]
    own_norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
    norm = nn.utils.get_total_norm([g for _, g in pairs])
    target = share * own_norm if share is not None else strength * norm.clamp_max(clip_norm)
    factor = target / norm.clamp_min(1e-12)
    finite = norm.isfinite() & factor.isfinite()
    factor = torch.where(finite, factor, 0.0)
    for parameter, gradient in pairs:
        added = torch.where(finite, gradient.to(parameter.dtype) * factor, 0.0)
        parameter.grad = added if parameter.grad is None else parameter.grad.add_(added)
    return factor, norm / own_norm.clamp_min(1e-12), finite


def effective_rank(vectors_ND: Tensor) -> float:
    """Returns exp of the entropy of the centred matrix's normalised singular values (Roy and Vetterli 2007)."""
    centred = vectors_ND.float() - vectors_ND.float().mean(0)
    values = torch.linalg.svdvals(centred)
    shares = values / values.sum().clamp_min(1e-12)
    entropy = -(shares * shares.clamp_min(1e-12).log()).sum()
    return float(entropy.exp())


def _float(x: Tensor) -> Tensor:
    """Returns `x` in float32, or in float64 where it comes so."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
