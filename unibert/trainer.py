"""One optimiser step of pretraining, and everything the next one depends on.

Legend: B sequences, T tokens, M masked positions, D width, V vocabulary.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unibert import objectives, shards
from unibert.adversary import AdversaryState
from unibert.config import TrainConfig
from unibert.errors import UserError
from unibert.masking import corrupt
from unibert.model import UniBert, autocast, load, mean_pool, new
from unibert.tokenizer import PAD

DECAY_FRAC = 0.3  # of all steps, at the end: a constant rate leaves the adversary, which starts late, time to act


class Trainer:
    """One pretraining run's state. `fit` drives it; tests and benchmarks call `step` directly."""

    def __init__(self, config: TrainConfig, shard_folder: Path, vocab_size: int, *, device: str) -> None:
        assert config.steps is not None, "a budget is turned into steps before training"
        self.config, self.device, self.vocab_size = config, device, vocab_size
        self.bf16 = config.precision == "bf16"
        self.step_number = 0
        self.tokens = 0
        self.seconds = 0.0  # spent in `fit`, over all its resumptions
        self.last: dict[str, float] = {}  # the latest averages, for the manifest
        self.generator = torch.Generator().manual_seed(config.seed)
        fresh = new(config.model, vocab_size=vocab_size, dropout=config.dropout, generator=self.generator)
        self.model = fresh.place(device)
        self.model.train()
        self.batches = shards.Batches(
            shard_folder,
            config.languages,
            alpha=config.sampling_alpha,
            batch_tokens=config.batch_tokens,
            max_tokens=config.model.positions,
            long_share=config.long_share,
            seed=config.seed,
        )
        frequencies_LV = shards.unigram(shard_folder, config.languages, vocab_size)
        self.model.start_from(torch.from_numpy(self.batches.shares_L @ frequencies_LV))
        self.adversary: AdversaryState | None = None
        if config.adversary is not None:
            self.adversary = AdversaryState(
                config.adversary,
                width=config.model.width,
                languages=len(config.languages),
                total_steps=config.steps,
                device=device,
                # A stream of its own: the encoder sees the same masks with an adversary and without.
                generator=torch.Generator().manual_seed(config.seed),
            )
        self.teacher: UniBert | None = None
        self.projection: torch.nn.Linear | None = None
        if config.distill is not None:
            self.teacher = _load_teacher(config.distill.teacher, vocab_size).place(device).eval().requires_grad_(False)
            teacher_width = int(self.teacher.mlm.config.hidden_size)
            if teacher_width != config.model.width:
                self.projection = torch.nn.Linear(config.model.width, teacher_width, bias=False)
                generator = torch.Generator().manual_seed(config.seed)
                torch.nn.init.orthogonal_(self.projection.weight, generator=generator)
                self.projection.to(device)
        self.optimizer = self._make_optimizer()

    def _make_optimizer(self) -> torch.optim.Optimizer:
        modules = [self.model] + ([self.projection] if self.projection is not None else [])
        parameters = [p for module in modules for p in module.parameters()]
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
        """Takes one optimiser step on the next batch; returns detached losses and counts, still on the device."""
        config = self.config
        batch = next(self.batches)
        tokens_BT = torch.from_numpy(batch.tokens_BT)
        corrupted_BT, picked_M, targets_M = corrupt(
            tokens_BT, rate=config.mask_rate, vocab_size=self.vocab_size, generator=self.generator
        )
        self.tokens += int(batch.lengths_B.sum())
        corrupted_BT, picked_M = corrupted_BT.to(self.device), picked_M.to(self.device)
        targets_M = targets_M.to(self.device)
        with autocast(self.device, self.bf16):
            outputs = self.model(corrupted_BT, picked_M)
        losses = {"mlm": objectives.mlm_loss(outputs.logits_MV, targets_M)}
        total = losses["mlm"]
        if config.distill is not None:
            losses |= self._distill(outputs.logits_MV, outputs.hidden_BTD, corrupted_BT, picked_M)
            total = total + config.distill.soft_weight * losses["soft"]
            total = total + config.distill.hidden_weight * losses["hidden"]
        adversary = self.adversary if self.adversary and self.adversary.active(self.step_number) else None
        share = adversary.share(self.step_number) if adversary else 0.0
        self.optimizer.zero_grad(set_to_none=True)
        total.backward(retain_graph=share > 0)  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self._parameters(), config.clip_norm)
        if adversary:
            language_B = torch.from_numpy(batch.language_B).to(self.device)
            pooled_BD = mean_pool(outputs.hidden_BTD, corrupted_BT)
            losses |= adversary.learn(pooled_BD, language_B)
            if share > 0:
                shared = self.model.shared_parameters()
                reversed_ = torch.autograd.grad(
                    adversary.encoder_loss(pooled_BD, language_B), shared, allow_unused=True
                )
                losses["strength"] = objectives.add_balanced(shared, reversed_, share=share)
        rate = self.learning_rate(self.step_number)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        self.step_number += 1
        return {name: value.detach() for name, value in losses.items()}

    def _distill(
        self, logits_MV: Tensor, hidden_BTD: Tensor, corrupted_BT: Tensor, picked_M: Tensor
    ) -> dict[str, Tensor]:
        assert self.config.distill is not None
        assert self.teacher is not None
        with torch.no_grad(), autocast(self.device, self.bf16):
            taught = self.teacher(corrupted_BT, picked_M)
        student_BTD = hidden_BTD if self.projection is None else self.projection(hidden_BTD.float())
        temperature = self.config.distill.temperature
        return {
            "soft": objectives.soft_target_loss(logits_MV, taught.logits_MV, temperature),
            "hidden": objectives.hidden_cosine_loss(student_BTD, taught.hidden_BTD, corrupted_BT != PAD),
        }

    def _parameters(self) -> list[torch.nn.Parameter]:
        return [p for group in self.optimizer.param_groups for p in group["params"]]

    def state_dict(self) -> dict[str, Any]:
        """Returns everything the next step depends on, as tensors and plain values."""
        position = self.batches.position
        return {
            "step": self.step_number,
            "tokens": self.tokens,
            "seconds": self.seconds,
            "last": self.last,
            "model": self.model.state_dict(),
            "projection": self.projection.state_dict() if self.projection is not None else None,
            "optimizer": self.optimizer.state_dict(),
            "adversary": self.adversary.state_dict() if self.adversary else None,
            "position": [position.chunk, position.index, list(position.cursors)],
            "generator": self.generator.get_state(),
            "global_rng": torch.get_rng_state(),
            "cuda_rng": torch.cuda.get_rng_state() if self.device.startswith("cuda") else None,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores what `state_dict` returned."""
        self.step_number, self.tokens = state["step"], state["tokens"]
        self.seconds, self.last = state["seconds"], state["last"]
        self.model.load_state_dict(state["model"])
        if self.projection is not None:
            self.projection.load_state_dict(state["projection"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.adversary:
            self.adversary.load_state_dict(state["adversary"])
        chunk, index, cursors = state["position"]
        self.batches.seek(shards.Position(chunk=chunk, index=index, cursors=tuple(cursors)))
        self.generator.set_state(state["generator"])
        torch.set_rng_state(state["global_rng"])
        if state["cuda_rng"] is not None:
            torch.cuda.set_rng_state(state["cuda_rng"])


def _load_teacher(folder: str, vocab_size: int) -> UniBert:
    from safetensors import SafetensorError

    try:
        teacher = load(folder)
    except (OSError, ValueError, SafetensorError) as error:
        raise UserError(f"teacher {folder} cannot be opened ({str(error).splitlines()[0]})") from None
    found = int(teacher.mlm.config.vocab_size)
    if found != vocab_size:
        raise UserError(
            f"teacher {folder} has a vocabulary of {found} pieces, the student {vocab_size}: soft targets need the "
            "same one; train it with the same --tokenizer"
        )
    return teacher
