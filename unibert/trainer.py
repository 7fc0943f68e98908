"""One optimiser step of pretraining, and everything the next one depends on.

Nothing in a step waits for the device: a step that went wrong is skipped by the optimiser itself, and counted.

Legend: B sequences, N flat tokens, X vectors an adversary reads, D width, V vocabulary, L languages.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from unibert import batches, packed, shards
from unibert.adversary import AdversaryState
from unibert.config import TrainConfig
from unibert.errors import UserError
from unibert.feed import Feed, Step
from unibert.losses import UNITS, Losses
from unibert.model import new
from unibert.processes import Processes
from unibert.teacher import Teacher, start_from

DECAY_FRAC = 0.3  # of all steps, at the end: a constant rate leaves the adversary, which starts late, time to act
MEMORY = 0.98  # of the running mean loss from one step to the next


class Trainer:
    """One pretraining run's state. `fit` drives it; tests and benchmarks call `step` directly."""

    def __init__(
        self,
        config: TrainConfig,
        shard_folder: Path,
        vocab_size: int,
        *,
        device: str,
        teacher: Teacher | None = None,
        processes: Processes | None = None,
        compiled: bool = True,
    ) -> None:
        steps = config.steps
        assert steps is not None, "a budget is turned into steps before training"
        self.processes = processes if processes is not None else Processes(device)
        self.config, self.device, self.vocab_size = config, device, vocab_size
        micro_batches = config.micro_batches if config.micro_batches is not None else self.processes.world
        if micro_batches % self.processes.world:
            raise UserError(
                f"micro_batches {micro_batches} cannot be shared out to {self.processes.world} processes; start a "
                f"number that divides it, or give another micro_batches (which is another run)"
            )
        self.config = config = replace(config, micro_batches=micro_batches)
        self.bf16 = config.precision == "bf16"
        self.step_number = 0
        self.tokens = 0
        self.seconds = 0.0  # spent in `fit`, over all its resumptions
        self.rollbacks = 0
        self.last: dict[str, float] = {}  # the latest averages, for the manifest
        self.batches = batches.Batches(
            shard_folder,
            config.languages,
            alpha=config.sampling_alpha,
            batch_tokens=config.batch_tokens // micro_batches,
            max_tokens=config.model.positions,
            long_share=config.long_share,
            seed=config.seed,
        )
        packing = packed.supported(device, bf16=self.bf16) and not config.dropout  # the kernel has no dropout
        self.feed = Feed(
            self.batches,
            config,
            vocab_size,
            rank=self.processes.rank,
            world=self.processes.world,
            device=device,
            packed=packing,
        )
        self.teacher = teacher
        self.model = new(
            config.model,
            vocab_size=vocab_size,
            dropout=config.dropout,
            generator=torch.Generator().manual_seed(config.seed),
        )
        frequencies_LV = shards.unigram(shard_folder, config.languages, vocab_size)
        self.model.start_from(torch.from_numpy(self.batches.shares_L @ frequencies_LV))
        if config.language_head:
            self.model.tell_languages(len(config.languages))
        if config.distill is not None and config.distill.first_layers:
            assert teacher is not None
            start_from(self.model, teacher)
        self.model.place(device)
        width = teacher.width if teacher is not None else None
        self.losses = Losses(self.model, config, teacher_width=width).to(device).train()
        self.adversary: AdversaryState | None = None
        if config.adversary is not None:
            self.adversary = AdversaryState(
                config.adversary,
                width=config.model.width,
                languages=len(config.languages),
                total_steps=steps,
                device=device,
                # A stream of its own: the encoder sees the same masks with an adversary and without.
                generator=torch.Generator().manual_seed(config.seed),
            )
        self.optimizer = self._make_optimizer()
        # Of the masked-LM loss: its running mean, the steps skipped, and how many of them in a row.
        self.health = torch.tensor([math.inf, 0.0, 0.0], device=device)
        if packing:
            self.model.pack()
            if compiled:
                self.model.compile(retained=self.adversary is not None)

    def _make_optimizer(self) -> torch.optim.Optimizer:
        parameters = list(self.losses.parameters())
        groups = [
            {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": self.config.weight_decay},
            {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.98), eps=1e-6, fused=True)

    def learning_rate(self, step: int) -> float:
        """Returns the rate at a step: linear warmup, constant, linear decay to zero over the last DECAY_FRAC."""
        config = self.config
        assert config.steps is not None
        peak = config.peak_lr if config.peak_lr is not None else config.model.peak_lr
        warmup = max(1, round(config.warmup_frac * config.steps))
        decay = max(1, round(DECAY_FRAC * config.steps))
        return peak * min((step + 1) / warmup, 1.0, (config.steps - step) / decay)

    def step(self) -> dict[str, Tensor]:
        """Takes one optimiser step; returns detached mean losses and norms, still on the device."""
        data = next(self.feed)
        adversary = self.adversary if self.adversary and self.adversary.active(self.step_number) else None
        pressing = adversary is not None and adversary.presses(self.step_number)
        self.optimizer.zero_grad(set_to_none=True)
        sums: dict[str, Tensor] = {}
        read: list[tuple[Tensor, Tensor]] = []
        against: list[Tensor | None] = [None] * len(self._shared) if pressing else []
        for number, micro in data.micros:
            micro = micro.to(self.device)
            if self.config.dropout:
                torch.manual_seed(self.config.seed * 1_000_003 + number)  # whoever trains on it
            taught = self.teacher.teach(micro, number) if self.teacher is not None else None
            found, states = self.losses(micro, taught, bf16=self.bf16)
            self.losses.total(found, data.totals).backward(retain_graph=pressing)  # type: ignore[no-untyped-call]
            for name, value in found.items():
                sums[name] = sums.get(name, torch.zeros_like(value.detach())) + value.detach()
            if adversary is None:
                continue
            layer = adversary.config.layer if adversary.config.layer is not None else -1
            vectors_XD, language_X = adversary.read(states.layers[layer], micro)
            if pressing:
                loss = adversary.encoder_loss(vectors_XD, language_X) / sum(map(adversary.count, data.sizes))
                _accumulate(against, torch.autograd.grad(loss, self._shared, allow_unused=True))
            read.append((vectors_XD.detach(), language_X))
        return self._update(data, sums, read, against)

    def _update(
        self, data: Step, sums: dict[str, Tensor], read: list[tuple[Tensor, Tensor]], against: list[Tensor | None]
    ) -> dict[str, Tensor]:
        """Adds up over processes, clips, adds the adversary's gradient, and steps unless something went wrong."""
        parameters = [p for p in self.losses.parameters() if p.grad is not None]
        gradients = [p.grad for p in parameters if p.grad is not None]
        opposed = [g for g in against if g is not None]
        names = sorted(sums)
        logged = torch.stack([sums[name] for name in names])
        self.processes.sum_([logged, *gradients, *opposed])
        row = {
            name: value / getattr(data.totals, UNITS[name]) for name, value in zip(names, logged.unbind(), strict=True)
        }
        norm = nn.utils.get_total_norm(gradients)
        shrink = (self.config.clip_norm / (norm + 1e-6)).clamp_max(1.0)
        row["grad_norm"] = norm
        # The optimiser clips in its own pass over the gradients, unless an adversary's has to join them first.
        self.optimizer.grad_scale = None if opposed else 1.0 / shrink  # type: ignore[attr-defined]
        if opposed:
            torch._foreach_mul_(gradients, shrink)
        if self.adversary is not None and self.adversary.active(self.step_number):
            row |= self.adversary.learn(*self._gather(read, data))
            if opposed:
                row |= self.adversary.press(self._shared, against, self.step_number)
        skipped = self._judge(row["mlm"], norm)
        row["skipped"] = skipped
        rate = self.learning_rate(self.step_number)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        # Fused optimisers leave weights and moments as they are where this is 1: nothing waits to look at it.
        self.optimizer.found_inf = skipped  # type: ignore[attr-defined]
        self.optimizer.step()
        self.step_number += 1
        self.tokens += data.totals.tokens
        return row

    def _judge(self, mlm: Tensor, norm: Tensor) -> Tensor:
        """Returns 1.0 for a step to skip: not finite, or far above the running mean loss; keeps the books."""
        mean, count, row = self.health.unbind()
        bad = ~(mlm.isfinite() & norm.isfinite()) | (mlm > mean + self.config.max_loss_rise)
        moved = torch.where(mean.isinf(), mlm, MEMORY * mean + (1 - MEMORY) * mlm)
        skipped = bad.float()
        self.health = torch.stack([torch.where(bad, mean, moved), count + skipped, (row + 1) * skipped])
        return skipped

    def _gather(self, read: list[tuple[Tensor, Tensor]], data: Step) -> tuple[Tensor, Tensor]:
        """Returns the vectors of all micro-batches of all processes, in the stream's order."""
        if self.processes.world == 1:
            return torch.cat([v for v, _ in read]), torch.cat([y for _, y in read])
        assert self.adversary is not None
        rank, world = self.processes.rank, self.processes.world
        ends = list(itertools.accumulate(self.adversary.count(size) for size in data.sizes))
        whole_XD = torch.zeros(ends[-1], self.config.model.width + 1, device=self.device)
        for i, (vectors_XD, language_X) in enumerate(read):
            end = ends[rank + i * world]
            whole_XD[end - len(vectors_XD) : end] = torch.cat([vectors_XD, language_X[:, None].float()], 1)
        self.processes.sum_([whole_XD])
        return whole_XD[:, :-1].contiguous(), whole_XD[:, -1].long()

    @property
    def _shared(self) -> list[nn.Parameter]:
        return self.model.shared_parameters()

    def state_dict(self) -> dict[str, Any]:
        """Returns everything the next step depends on, as tensors and plain values."""
        position = self.feed.position
        return {
            "step": self.step_number,
            "tokens": self.tokens,
            "seconds": self.seconds,
            "rollbacks": self.rollbacks,
            "last": self.last,
            "losses": self.losses.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "adversary": self.adversary.state_dict() if self.adversary else None,
            "health": self.health,
            "position": [position.chunk, position.index, list(position.cursors)],
            "number": self.feed.number,
        }

    def load_state_dict(self, state: dict[str, Any], *, move: bool = True) -> None:
        """Restores what `state_dict` returned; with `move=False` reading goes on from where it stands now."""
        self.step_number, self.tokens = state["step"], state["tokens"]
        self.seconds, self.last = state["seconds"], state["last"]
        self.losses.load_state_dict(state["losses"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.adversary:
            self.adversary.load_state_dict(state["adversary"])
        self.health = state["health"].to(self.device)
        if move:
            self.rollbacks = state["rollbacks"]
            chunk, index, cursors = state["position"]
            self.feed.seek(batches.Position(chunk=chunk, index=index, cursors=tuple(cursors)), state["number"])


def _accumulate(held: list[Tensor | None], new: tuple[Tensor | None, ...]) -> None:
    """Adds gradients to those held."""
    for i, gradient in enumerate(new):
        if gradient is None:
            continue
        before = held[i]
        held[i] = gradient if before is None else before.add_(gradient)
