"""The loop: fit(config, ...) -> the exported model's folder. Resumable, and deterministic on a CPU.

Legend: B sequences, T tokens, M masked positions.

A run's working folder holds `plan.json` (the config, with a budget turned into steps), `state.pt` (everything the next
step depends on) and `metrics.jsonl` (the curve). A killed run, started again, continues the same curve bit by bit on
the same machine and thread count.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unibert import checkpoint, evaluate, objectives, shards, tokenizer
from unibert.adversary import AdversaryState
from unibert.config import TrainConfig, from_plain, to_plain
from unibert.errors import UserError
from unibert.manifest import write_text
from unibert.masking import corrupt
from unibert.model import UniBert, load, mean_pool, new
from unibert.tokenizer import PAD

LOG_EVERY_STEPS = 20
MEASURE_STEPS = 12  # of each phase, thrown away, to turn a wall-clock budget into steps
DECAY_FRAC = 0.3
Event = dict[str, Any]
Notify = Callable[[Event], None]


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
        self.model = new(config.model, vocab_size=vocab_size, dropout=config.dropout, generator=self.generator).to(
            device
        )
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
            self.teacher = _load_teacher(config.distill.teacher, vocab_size).to(device).eval().requires_grad_(False)
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
        with torch.autocast(self.device, dtype=torch.bfloat16, enabled=self.bf16):
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
        with torch.no_grad(), torch.autocast(self.device, dtype=torch.bfloat16, enabled=self.bf16):
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


def fit(
    config: TrainConfig, *, shard_folder: Path, tokenizer_folder: Path, work: Path, device: str, notify: Notify
) -> Trainer:
    """Trains to the end (or on from the last checkpoint in `work`) and returns the trainer in its last state.

    Raises UserError when `work` holds another run's plan, or when the loss is no longer finite.
    """
    vocab_size = tokenizer.load(tokenizer_folder).get_vocab_size()
    config = _plan(config, shard_folder, vocab_size, work, device, notify)
    heldout = evaluate.load_heldout(
        shard_folder,
        config.languages,
        vocab_size=vocab_size,
        mask_rate=config.mask_rate,
        max_tokens=config.model.positions,
    )
    trainer = Trainer(config, shard_folder, vocab_size, device=device)
    # Dropout draws from the global generators: seeded here, and given back to the caller as they were.
    with torch.random.fork_rng(devices=[torch.cuda.current_device()] if device.startswith("cuda") else []):
        torch.manual_seed(config.seed)
        state = checkpoint.load_state(work)
        if state is not None:
            trainer.load_state_dict(state)
        _train(trainer, heldout, work, notify)
    return trainer


def _train(trainer: Trainer, heldout: evaluate.Heldout, work: Path, notify: Notify) -> None:
    config = trainer.config
    assert config.steps is not None
    curve = _Curve(work / "metrics.jsonl", trainer.step_number)
    notify({"event": "start", "step": trainer.step_number, "steps": config.steps, "languages": len(config.languages)})
    saved = began = time.monotonic()
    tokens_before, seconds_before = trainer.tokens, trainer.seconds
    pending: list[dict[str, Tensor]] = []
    while trainer.step_number < config.steps:
        pending.append(trainer.step())
        last = trainer.step_number == config.steps
        if trainer.step_number % LOG_EVERY_STEPS == 0 or last:
            row = _mean(pending)
            pending = []
            trainer.last = row
            trainer.seconds = seconds_before + time.monotonic() - began
            if not math.isfinite(row["mlm"]):
                raise UserError(
                    f"the loss is {row['mlm']} at step {trainer.step_number}; lower peak_lr or use --precision fp32"
                )
            curve.add({"step": trainer.step_number, "tokens": trainer.tokens, **row})
            rate = (trainer.tokens - tokens_before) / (time.monotonic() - began)
            notify({"event": "step", "step": trainer.step_number, "tokens_per_s": rate, **row})
        if trainer.step_number % config.eval_every_steps == 0 or last:
            curve.add(_evaluate(trainer, heldout, notify))
        # Checkpoints stand on log boundaries only, so that no half-averaged row is lost with a kill.
        if last or (not pending and time.monotonic() - saved > config.checkpoint_every_s):
            checkpoint.save_state(work, trainer.state_dict())
            saved = time.monotonic()


def _evaluate(trainer: Trainer, heldout: evaluate.Heldout, notify: Notify) -> Event:
    losses = evaluate.heldout_loss(trainer.model, heldout, device=trainer.device, bf16=trainer.bf16)
    rank = evaluate.rank_of(trainer.model, heldout, device=trainer.device, bf16=trainer.bf16)
    row: Event = {"step": trainer.step_number, "heldout_mlm": losses["mean"], "effective_rank": rank}
    if trainer.adversary:
        reason = trainer.adversary.watch(losses["mean"], rank, trainer.step_number)
        if reason:
            row["backoff"] = trainer.adversary.backoff
            notify({"event": "note", "text": f"adversary halved to x{trainer.adversary.backoff:g}: {reason}"})
    notify({"event": "evaluation", **row})
    return row


class _Curve:
    """`metrics.jsonl`, cut back to the step that training resumes from."""

    def __init__(self, path: Path, step: int) -> None:
        self.path = path
        lines = path.read_text().splitlines() if path.exists() else []
        kept = []
        for line in lines:
            try:
                row = json.loads(line)
            except ValueError:  # the line being written when the run was killed
                break
            if row["step"] <= step:
                kept.append(line)
        write_text(path, "".join(f"{line}\n" for line in kept))

    def add(self, row: Event) -> None:
        with self.path.open("a") as file:
            file.write(json.dumps(row, sort_keys=True) + "\n")


def _mean(rows: list[dict[str, Tensor]]) -> dict[str, float]:
    names = sorted({name for row in rows for name in row})
    return {name: float(torch.stack([row[name] for row in rows if name in row]).mean()) for name in names}


def _plan(
    config: TrainConfig, shard_folder: Path, vocab_size: int, work: Path, device: str, notify: Notify
) -> TrainConfig:
    """Returns the config to train by: the stored plan's, or this one with its budget measured out and stored."""
    path = work / "plan.json"
    asked = to_plain(config)
    if path.exists():
        plan = json.loads(path.read_text())
        changed = sorted(name for name in asked if json.loads(json.dumps(asked[name])) != plan["asked"].get(name))
        if changed:
            raise UserError(
                f"{work} holds a run with other settings ({', '.join(changed)}); "
                "give the same ones to resume it, or another --name to start afresh"
            )
        return from_plain(plan["config"])
    if config.budget_s is not None:
        steps = _measure(config, shard_folder, vocab_size, device)
        notify({"event": "note", "text": f"a budget of {config.budget_s:g} s is {steps} steps here"})
        config = replace(config, budget_s=None, steps=steps)
    plan = {"asked": asked, "config": to_plain(config), "threads": torch.get_num_threads(), "device": device}
    write_text(path, json.dumps(plan, indent=1) + "\n")
    return config


def _measure(config: TrainConfig, shard_folder: Path, vocab_size: int, device: str) -> int:
    """Returns how many steps fit the budget, timed on throw-away steps of both phases, whose time is paid too."""
    assert config.budget_s is not None
    began = time.monotonic()
    trial = Trainer(replace(config, budget_s=None, steps=10**6), shard_folder, vocab_size, device=device)
    without = _time_steps(trial)
    seconds = without
    if trial.adversary and config.adversary:
        trial.adversary.start = trial.step_number - trial.adversary.ramp_steps
        seconds = _time_steps(trial)
        start = config.adversary.start_frac
        seconds = start * without + (1 - start) * seconds
    heldout = evaluate.load_heldout(
        shard_folder,
        config.languages,
        vocab_size=vocab_size,
        mask_rate=config.mask_rate,
        max_tokens=config.model.positions,
    )
    before = time.monotonic()
    _evaluate(trial, heldout, lambda event: None)
    seconds += (time.monotonic() - before) / config.eval_every_steps
    left = config.budget_s - (time.monotonic() - began)
    return max(LOG_EVERY_STEPS, int(left / seconds))


def _time_steps(trial: Trainer) -> float:
    for _ in range(3):
        trial.step()
    began = time.monotonic()
    for _ in range(MEASURE_STEPS):
        float(trial.step()["mlm"])
    return (time.monotonic() - began) / MEASURE_STEPS


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
