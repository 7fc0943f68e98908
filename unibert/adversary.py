"""The adversary's side of training: what it reads, its discriminator and that one's optimiser, strength, back-off.

Legend: B sequences, N flat tokens, X vectors that are read, D width, L languages.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from unibert.config import Adversary
from unibert.micro import Micro, pool
from unibert.objectives import (
    Discriminator,
    add_balanced,
    effective_rank,
    ganin_ramp,
    gradient_reversal,
    language_loss,
    matching_loss,
    uniform_loss,
)
from unibert.tokenizer import FIRST_PIECE

TOKENS = 512  # of one micro-batch, at the most, that a token-level adversary reads
RANK_VECTORS = 512  # the last of those read, whose effective rank is watched
QUIET_STEPS = 60  # after the strength was halved, until it may be halved again


class AdversaryState:
    """Everything the adversary carries from step to step; `state_dict` resumes it exactly.

    Every process holds one; they stay the same as long as `learn` meets the same vectors in the same order in all.
    """

    def __init__(
        self,
        config: Adversary,
        *,
        width: int,
        languages: int,
        total_steps: int,
        device: str,
        generator: torch.Generator,
    ) -> None:
        self.config = config
        self.start = round(config.start_frac * total_steps)
        self.ramp_steps = max(1, round(config.ramp_frac * total_steps))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(torch.randint(2**62, (), generator=generator)))
            self.net = Discriminator(width, languages, config.hidden).to(device)  # left alone by `matching`
        self.optimizer = torch.optim.AdamW(self.net.parameters(), lr=config.learning_rate)
        self.replay: deque[tuple[Tensor, Tensor, Tensor]] = deque(maxlen=config.replay)
        self.seen_L = torch.ones(languages, device=device)
        self.generator = generator
        self.backoff = 1.0
        self.references: dict[str, tuple[float, float]] = {}  # loss and rank when it started, by where they are read
        self.quiet_until = 0  # the step up to which the last halving is given time to show

    def active(self, step: int) -> bool:
        """Whether the discriminator takes part in this step."""
        return step >= self.start

    def strength(self, step: int) -> float:
        """Returns λ at this step: ramped, backed off, and 0 on the steps between those it presses on."""
        if not self.active(step) or (step - self.start) % self.config.every:
            return 0.0
        return self.config.strength * self.backoff * ganin_ramp((step - self.start) / self.ramp_steps)

    def share(self, step: int) -> float | None:
        """Returns the adversary's gradient norm as a share of the other objectives', or None where λ is fixed."""
        return None if self.config.balance is None else self.config.balance * self.strength(step)

    def presses(self, step: int) -> bool:
        """Whether the encoder meets the adversary's gradient at this step."""
        return self.strength(step) > 0 and self.share(step) != 0

    def count(self, sequences: int) -> int:
        """Returns X, how many vectors `read` returns of a micro-batch of so many sequences, whoever reads it."""
        if self.config.level == "sentence":
            return sequences
        return sequences * (TOKENS // sequences) if sequences < TOKENS else TOKENS

    def read(self, hidden_ND: Tensor, micro: Micro) -> tuple[Tensor, Tensor]:
        """Returns float32 vectors (X, D) and their languages (X,).

        At sentence level one mean a sequence; at token level as many tokens of each, evenly spaced (some more than once
        where a sequence has fewer). Those of pieces only: special tokens are the same in every language, and a vector
        at [MASK] must name a piece, which hiding the language would oppose head-on; nothing downstream reads one.
        """
        if self.config.level == "sentence":
            return pool(hidden_ND, micro.sequence_N, micro.lengths_B), micro.language_B
        B = len(micro.lengths_B)
        X = self.count(B)
        slot_X = torch.arange(X, device=hidden_ND.device)
        sequence_X = slot_X * B // X
        each = max(1, X // B)
        real_N, piece_N = micro.sequence_N < B, micro.tokens_RT.flatten() >= FIRST_PIECE
        # A sequence whose every piece is masked is read at all its tokens.
        pieces_B = _counts(micro.sequence_N, piece_N, B)
        bare_B = pieces_B == 0
        bare_N = F.pad(bare_B, (0, 1))[micro.sequence_N]
        ranks_N = (real_N & (piece_N | bare_N)).cumsum(0)
        counts_B = torch.where(bare_B, micro.lengths_B, pieces_B)
        before_B = counts_B.cumsum(0) - counts_B
        inside_X = (2 * (slot_X % each) + 1) * counts_B[sequence_X] // (2 * each)
        position_X = torch.searchsorted(ranks_N, before_B[sequence_X] + inside_X + 1)
        return hidden_ND[position_X].float(), micro.language_B[sequence_X]

    def encoder_loss(self, vectors_XD: Tensor, language_X: Tensor) -> Tensor:
        """Returns a sum over vectors whose gradient, added as it comes, makes the encoder hide the language.

        The discriminator is read through detached copies of its parameters: no backward pass can reach their `.grad`.
        """
        if self.config.method == "matching":
            return matching_loss(vectors_XD, language_X, len(self.seen_L))
        fixed = {name: parameter.detach() for name, parameter in self.net.named_parameters()}
        weight_L = self.weight_L
        if self.config.method == "uniform":
            return uniform_loss(torch.func.functional_call(self.net, fixed, (vectors_XD,)), weight_L[language_X])
        logits_XL = torch.func.functional_call(self.net, fixed, (gradient_reversal(vectors_XD),))
        return language_loss(logits_XL, language_X, weight_L)

    def press(
        self, parameters: Sequence[nn.Parameter], adversarial: Sequence[Tensor | None], step: int
    ) -> dict[str, Tensor]:
        """Adds the gradients of `encoder_loss` to `.grad` at this step's strength; returns what the log shows of it."""
        factor, ratio, finite = add_balanced(
            parameters,
            adversarial,
            share=self.share(step),
            clip_norm=self.config.clip_norm,
            strength=self.strength(step),
        )
        return {"strength": factor, "adversary_ratio": ratio, "adversary_finite": finite.float()}

    def learn(self, vectors_XD: Tensor, language_X: Tensor) -> dict[str, Tensor]:
        """Trains the discriminator on these vectors and replayed ones; returns its loss and accuracy before that.

        Once a step, on the vectors of all micro-batches in the stream's order. Its gradient is neither reversed nor
        scaled, and stops at the vectors. Vectors that are not finite, or too large to square, count for nothing.
        """
        kept_X = vectors_XD.detach().float().square().sum(1).isfinite()
        vectors_XD = torch.where(kept_X.unsqueeze(1), vectors_XD.detach().float(), 0.0)
        held = (vectors_XD, language_X, kept_X.float())
        if self.config.method == "matching":
            self.replay.append(held)  # for `rank`; there is nobody to train
            return {}
        self.seen_L.index_add_(0, language_X, held[2])
        first: dict[str, Tensor] = {}
        for update in range(self.config.updates):
            batches = [held]
            if self.replay:
                # Old vectors keep it from chasing only where the encoder stands now.
                batches.append(self.replay[int(torch.randint(len(self.replay), (), generator=self.generator))])
            if update == 0:
                with torch.no_grad():
                    logits_XL = self.net(vectors_XD)
                right_X = (logits_XL.argmax(1) == language_X) * held[2]
                first["disc_loss"] = self._mean_loss(logits_XL, language_X, held[2])
                first["disc_accuracy"] = right_X.sum() / held[2].sum().clamp_min(1.0)
            vectors, language, kept = (torch.cat(parts) for parts in zip(*batches, strict=True))
            loss = self._mean_loss(self.net(vectors), language, kept)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
        self.replay.append(held)
        return first

    def _mean_loss(self, logits_XL: Tensor, language_X: Tensor, kept_X: Tensor) -> Tensor:
        """Returns the class-balanced mean cross-entropy; ln L is a discriminator that knows nothing."""
        weight_X = self.weight_L[language_X] * kept_X
        losses_X = F.cross_entropy(logits_XL, language_X, reduction="none")
        return (weight_X * losses_X).sum() / weight_X.sum().clamp_min(1e-12)

    @property
    def weight_L(self) -> Tensor:
        """Class weights (L,), averaging 1, that make every language count the same under smoothed sampling."""
        weights: Tensor = self.seen_L.sum() / (len(self.seen_L) * self.seen_L)
        return weights

    def watch(self, mlm: float, rank: float, step: int, *, where: str = "held-out") -> str | None:
        """Halves the strength where the encoder pays too much for it; returns the reason when it does.

        `where` the loss and the rank were read: held-out text, or "training", which is asked far more often. An encoder
        can collapse within a hundred steps, and does not come back from it.
        """
        if not self.active(step):
            return None
        if where not in self.references:
            if math.isfinite(mlm) and math.isfinite(rank):
                self.references[where] = (mlm, rank)
            return None
        before, rank_before = self.references[where]
        rise, kept = mlm - before, rank / max(rank_before, 1e-12)
        good = rise <= self.config.max_mlm_rise and kept >= self.config.min_rank_share
        if good or step < self.quiet_until:
            return None
        self.backoff /= 2
        self.quiet_until = step + QUIET_STEPS
        return f"{where} loss {rise:+.2f} nats, effective rank x{kept:.2f} since the adversary started"

    def rank(self) -> float:
        """Returns the effective rank of the vectors it read last; nan before it read any."""
        if not self.replay:
            return math.nan
        return effective_rank(torch.cat([vectors_XD for vectors_XD, _, _ in self.replay])[-RANK_VECTORS:])

    def state_dict(self) -> dict[str, Any]:
        """Returns tensors and plain values only."""
        return {
            "net": self.net.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "replay": [list(held) for held in self.replay],
            "seen": self.seen_L,
            "backoff": self.backoff,
            "references": {where: list(pair) for where, pair in self.references.items()},
            "quiet_until": self.quiet_until,
            "generator": self.generator.get_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores what `state_dict` returned, on whatever device the discriminator stands."""
        self.net.load_state_dict(state["net"])
        self.optimizer.load_state_dict(state["optimizer"])
        device = self.seen_L.device
        held = ((v.to(device), y.to(device), kept.to(device)) for v, y, kept in state["replay"])
        self.replay = deque(held, maxlen=self.config.replay)
        self.seen_L = state["seen"].to(device)
        self.backoff, self.quiet_until = state["backoff"], state["quiet_until"]
        self.references = {where: (mlm, rank) for where, (mlm, rank) in state["references"].items()}
        self.generator.set_state(state["generator"])


def _counts(sequence_N: Tensor, chosen_N: Tensor, sequences: int) -> Tensor:
    """Returns how many of the chosen tokens each sequence has (B,)."""
    counts = torch.zeros(sequences + 1, dtype=torch.long, device=sequence_N.device)
    return counts.index_add(0, sequence_N, chosen_N.long())[:-1]
