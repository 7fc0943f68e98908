"""The loop: fit(config, ...) -> the trainer in its last state. Resumable, and deterministic on a CPU.

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

from unibert import checkpoint, evaluate, machine, tokenizer
from unibert.config import TrainConfig, from_plain, to_plain
from unibert.errors import UserError
from unibert.manifest import write_text
from unibert.trainer import Trainer

LOG_EVERY_STEPS = 20
MEASURE_STEPS = 12  # of each phase, thrown away, to turn a wall-clock budget into steps
Event = dict[str, Any]
Notify = Callable[[Event], None]


def fit(
    config: TrainConfig, *, shard_folder: Path, tokenizer_folder: Path, work: Path, device: str, notify: Notify
) -> Trainer:
    """Trains to the end (or on from the last checkpoint in `work`) and returns the trainer in its last state.

    Raises UserError when `work` holds another run's plan, or when the loss is no longer finite.
    """
    vocab_size = tokenizer.load(tokenizer_folder).get_vocab_size()
    config = _plan(config, shard_folder, vocab_size, work, device, notify)
    heldout = evaluate.load_heldout(shard_folder, config, vocab_size)
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
            machine.release_memory()
            trainer.seconds = seconds_before + time.monotonic() - began
            if not math.isfinite(row["mlm"]):
                raise UserError(
                    f"the loss is {row['mlm']} at step {trainer.step_number}; lower peak_lr or use --precision fp32"
                )
            curve.add({"step": trainer.step_number, "tokens": trainer.tokens, **row})
            rate = (trainer.tokens - tokens_before) / (time.monotonic() - began)
            notify({"event": "step", "step": trainer.step_number, "tokens_per_s": rate, **row})
        # The adversary is held to what the encoder was when it began.
        begins = trainer.adversary is not None and trainer.step_number == trainer.adversary.start
        if trainer.step_number % config.eval_every_steps == 0 or begins or last:
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
    heldout = evaluate.load_heldout(shard_folder, config, vocab_size)
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
