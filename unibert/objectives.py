"""Masked language modelling, the language adversary (gradient reversal and its schedule), distillation.

Legend: B sequences, T tokens, M masked positions, D width, V vocabulary, L languages.
Every loss is a mean in nats (cosine distances excepted), so that weights mean the same at every batch size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn


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


def mlm_loss(logits_MV: Tensor, targets_M: Tensor) -> Tensor:
    """Returns the mean cross-entropy at masked positions (Devlin et al. 2019)."""
    return F.cross_entropy(logits_MV, targets_M)


class Discriminator(nn.Module):
    """Guesses the language of a pooled vector.

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

    def forward(self, pooled_BD: Tensor) -> Tensor:
        """Returns language logits (B, L)."""
        logits_BL: Tensor = self.net(pooled_BD)
        return logits_BL


def language_loss(logits_BL: Tensor, language_B: Tensor, weight_L: Tensor) -> Tensor:
    """Returns the class-balanced cross-entropy of the language; ln L is a discriminator that knows nothing."""
    return F.cross_entropy(logits_BL, language_B, weight=weight_L)


def soft_target_loss(logits_MV: Tensor, teacher_MV: Tensor, temperature: float) -> Tensor:
    """Returns T^2 KL(teacher || student) of tempered distributions, mean over M (Hinton et al. 2015)."""
    student = F.log_softmax(logits_MV / temperature, dim=-1)
    teacher = F.log_softmax(teacher_MV / temperature, dim=-1)
    return F.kl_div(student, teacher, reduction="batchmean", log_target=True) * temperature**2


def hidden_cosine_loss(hidden_BTD: Tensor, teacher_BTD: Tensor, real_BT: Tensor) -> Tensor:
    """Returns 1 - cosine between hidden states, mean over real tokens (DistilBERT: Sanh et al. 2019).

    Deviation: the caller projects the student's states where widths differ, which DistilBERT never needs.
    """
    cosine_BT = F.cosine_similarity(hidden_BTD.float(), teacher_BTD.float(), dim=-1)
    mask_BT = real_BT.float()
    return ((1.0 - cosine_BT) * mask_BT).sum() / mask_BT.sum()


def add_balanced(parameters: Sequence[nn.Parameter], adversarial: Sequence[Tensor | None], *, share: float) -> Tensor:
    """Adds the adversary's gradient to `.grad`, scaled to `share` times the norm of what stands there.

    Norms are over all `parameters` together, so the balance holds in parameter space: balancing at the pooled vectors
    let the gradient norm grow more than tenfold. Returns the factor applied, a tensor, so that nothing waits for it.
    """
    own = [p.grad for p in parameters if p.grad is not None]
    pairs = [(p, g) for p, g in zip(parameters, adversarial, strict=True) if g is not None]
    own_norm = torch.nn.utils.get_total_norm(own)
    factor = share * own_norm / torch.nn.utils.get_total_norm([g for _, g in pairs]).clamp_min(1e-12)
    for parameter, gradient in pairs:
        assert parameter.grad is not None
        parameter.grad.add_(gradient.to(parameter.grad.dtype) * factor)
    return factor


def effective_rank(vectors_ND: Tensor) -> float:
    """Returns exp of the entropy of the centred matrix's normalised singular values (Roy and Vetterli 2007)."""
    centred = vectors_ND.float() - vectors_ND.float().mean(0)
    values = torch.linalg.svdvals(centred)
    shares = values / values.sum().clamp_min(1e-12)
    entropy = -(shares * shares.clamp_min(1e-12).log()).sum()
    return float(entropy.exp())
