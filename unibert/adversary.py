"""The discriminator's side of adversarial training: its own optimiser, replayed vectors, strength and back-off.

Legend: B sequences, D width, L languages.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import torch
from torch import Tensor

from unibert.config import Adversary
from unibert.objectives import Discriminator, ganin_ramp, gradient_reversal, language_loss


class AdversaryState:
    """Everything the adversary carries from step to step; `state_dict` resumes it exactly."""

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
            self.net = Discriminator(width, languages, config.hidden).to(device)
        self.optimizer = torch.optim.AdamW(self.net.parameters(), lr=config.learning_rate)
        self.replay: deque[tuple[Tensor, Tensor]] = deque(maxlen=config.replay)
        self.seen_L = torch.ones(languages, device=device)
        self.generator = generator
        self.backoff = 1.0
        self.reference: dict[str, float] | None = None  # held-out loss and rank when it started

    def active(self, step: int) -> bool:
        """Whether the discriminator takes part in this step."""
        return step >= self.start

    def share(self, step: int) -> float:
        """Returns the adversary's gradient norm as a share of the other objectives', at this step."""
        ramp = ganin_ramp((step - self.start) / self.ramp_steps)
        return self.config.balance * self.config.strength * self.backoff * ramp

    def learn(self, pooled_BD: Tensor, language_B: Tensor) -> dict[str, Tensor]:
        """Trains the discriminator on these vectors and replayed ones; returns its loss and accuracy before that.

        Its gradient is neither reversed nor scaled, and stops at the vectors.
        """
        pooled_BD = pooled_BD.detach()
        self.seen_L.index_add_(0, language_B, torch.ones_like(language_B, dtype=self.seen_L.dtype))
        first: dict[str, Tensor] = {}
        for update in range(self.config.updates):
            vectors, language = pooled_BD, language_B
            if update == 0:
                with torch.no_grad():
                    logits = self.net(vectors)
                    first["disc_loss"] = language_loss(logits, language, self.weight_L)
                    first["disc_accuracy"] = (logits.argmax(1) == language).float().mean()
            if self.replay:
                # Old vectors keep it from chasing only where the encoder stands now.
                index = int(torch.randint(len(self.replay), (), generator=self.generator))
                vectors = torch.cat([vectors, self.replay[index][0]])
                language = torch.cat([language, self.replay[index][1]])
            loss = language_loss(self.net(vectors), language, self.weight_L)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
        self.replay.append((pooled_BD, language_B))
        return first

    def encoder_loss(self, pooled_BD: Tensor, language_B: Tensor) -> Tensor:
        """Returns the discriminator's loss on vectors whose gradient will come back reversed."""
        return language_loss(self.net(gradient_reversal(pooled_BD)), language_B, self.weight_L)

    @property
    def weight_L(self) -> Tensor:
        """Class weights (L,) that make every language count the same under smoothed sampling."""
        weights: Tensor = self.seen_L.sum() / (len(self.seen_L) * self.seen_L)
        return weights

    def watch(self, heldout_mlm: float, rank: float, step: int) -> str | None:
        """Halves the strength where the encoder pays too much for it; returns the reason when it does."""
        if not self.active(step):
            return None
        if self.reference is None:
            self.reference = {"mlm": heldout_mlm, "rank": rank}
            return None
        rise, kept = heldout_mlm - self.reference["mlm"], rank / max(self.reference["rank"], 1e-12)
        if rise <= self.config.max_mlm_rise and kept >= self.config.min_rank_share:
            return None
        self.backoff /= 2
        return f"held-out loss {rise:+.2f} nats, effective rank x{kept:.2f} since the adversary started"

    def state_dict(self) -> dict[str, Any]:
        """Returns tensors and plain values only."""
        return {
            "net": self.net.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "replay": [list(pair) for pair in self.replay],
            "seen": self.seen_L,
            "backoff": self.backoff,
            "reference": self.reference,
            "generator": self.generator.get_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores what `state_dict` returned, on whatever device the discriminator stands."""
        self.net.load_state_dict(state["net"])
        self.optimizer.load_state_dict(state["optimizer"])
        device = self.seen_L.device
        self.replay = deque(((v.to(device), y.to(device)) for v, y in state["replay"]), maxlen=self.config.replay)
        self.seen_L = state["seen"].to(device)
        self.backoff, self.reference = state["backoff"], state["reference"]
        self.generator.set_state(state["generator"])
