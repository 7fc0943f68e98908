"""The loop: fit(config, ...) -> the trainer in its last state. Resumable, and deterministic on a CPU.

Legend: B sequences, T tokens, M masked positions.

A run's working folder holds `plan.json` (the config, with a budget turned into steps), `state.pt` (everything the next
step depends on) and `metrics.jsonl` (the curve). A killed run, started again, continues the same curve bit by bit on
the same machine and thread count.
"""

from __future__ import annotations

import hashlib
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
from unibert.journal import Journal
from unibert.logit_cache import LogitCache
from unibert.manifest import model_sha256, write_text
from unibert.processes import Processes
from unibert.teacher import Teacher
from unibert.trainer import Trainer

LOG_EVERY_STEPS = 20
MEASURE_STEPS = 12  # of each phase, thrown away, to turn a wall-clock budget into steps
Event = dict[str, Any]
Notify = Callable[[Event], None]


def fit(
    config: TrainConfig,
    *,
    shard_folder: Path,
    tokenizer_folder: Path,
    work: Path,
    device: str,
    notify: Notify,
    processes: Processes | None = None,
    tensorboard: bool = False,
) -> Trainer:
    """Trains to the end (or on from the last checkpoint in `work`) and returns the trainer in its last state.

    Raises UserError when `work` holds another run's plan, or when training keeps failing.
    """
    processes = processes if processes is not None else Processes(device)
    notify = notify if processes.first else silent
    vocab_size = tokenizer.load(tokenizer_folder).get_vocab_size()
    asked, stored = config, _stored(config, work)
    config = stored if stored is not None else config
    if config.micro_batches is None:
        config = replace(config, micro_batches=processes.world)
    teacher = _teacher(config, shard_folder, tokenizer_folder, work, device)
    # Dropout draws from the global generators: seeded in every step, and given back to the caller as they were.
    with torch.random.fork_rng(devices=[torch.cuda.current_device()] if device.startswith("cuda") else []):
        if config.budget_s is not None:
            steps = _measure(config, shard_folder, vocab_size, device, teacher, processes)
            notify({"event": "note", "text": f"a budget of {config.budget_s:g} s is {steps} steps here"})
            config = replace(config, budget_s=None, steps=steps)
        processes.wait()
        if stored is None and processes.first:
            _store(asked, config, work, device)
        heldout = evaluate.load_heldout(shard_folder, config, vocab_size)
        trainer = Trainer(config, shard_folder, vocab_size, device=device, teacher=teacher, processes=processes)
        state = checkpoint.load_state(work)
        if state is not None:
            trainer.load_state_dict(state)
        _train(trainer, heldout, work, notify, tensorboard)
    return trainer


def _teacher(
    config: TrainConfig, shard_folder: Path, tokenizer_folder: Path, work: Path, device: str
) -> Teacher | None:
    distill = config.distill
    if distill is None:
        return None
    cache = None
    if distill.top_k is not None or distill.sentence_weight:
        cache = LogitCache(
            work.parent.parent / "teaching",
            identity=_lessons(config, shard_folder, device),
            top_k=distill.top_k,
            temperature=distill.temperature,
        )
    bf16 = config.precision == "bf16"
    return Teacher(distill, student_tokenizer=tokenizer_folder, device=device, bf16=bf16, cache=cache)


def _lessons(config: TrainConfig, shard_folder: Path, device: str) -> str:
    """Returns a hash of whatever decides what a teacher is asked and answers."""
    assert config.distill is not None
    kept = (
        "languages",
        "sampling_alpha",
        "batch_tokens",
        "micro_batches",
        "long_share",
        "mask_rate",
        "seed",
        "precision",
    )
    settings = {name: getattr(config, name) for name in kept}
    settings |= {"positions": config.model.positions, "shards": shard_folder.name, "device": device.split(":")[0]}
    settings |= {"top_k": config.distill.top_k, "temperature": config.distill.temperature}
    settings |= {"teacher": model_sha256(Path(config.distill.teacher))}
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def _train(trainer: Trainer, heldout: evaluate.Heldout, work: Path, notify: Notify, tensorboard: bool) -> None:
    config, first = trainer.config, trainer.processes.first
    assert config.steps is not None
    journal = Journal(work, trainer.step_number, tensorboard=tensorboard) if first else None
    notify({"event": "start", "step": trainer.step_number, "steps": config.steps, "languages": len(config.languages)})
    saved = began = time.monotonic()
    tokens_before, seconds_before = trainer.tokens, trainer.seconds
    pending: list[dict[str, Tensor]] = []
    if trainer.step_number == 0 and first:
        checkpoint.save_state(work, trainer.state_dict())  # what a run that fails at once goes back to
    while trainer.step_number < config.steps:
        pending.append(trainer.step())
        last = trainer.step_number == config.steps
        if trainer.step_number % LOG_EVERY_STEPS == 0 or last:
            machine.release_memory()
            trainer.seconds = seconds_before + time.monotonic() - began
            if float(trainer.health[2]) >= config.max_skips:
                _roll_back(trainer, work, journal, pending.pop(), notify)
                pending = []
                continue
            row = _mean(pending)
            pending = []
            trainer.last = row
            rank = trainer.adversary.rank() if trainer.adversary else math.nan
            backed_off = _watch(trainer, row.get("mlm", math.nan), rank, "training", notify)
            if journal is not None:
                rate = trainer.learning_rate(trainer.step_number - 1)
                journal.add({"step": trainer.step_number, "tokens": trainer.tokens, "lr": rate, **row, **backed_off})
            speed = (trainer.tokens - tokens_before) / (time.monotonic() - began)
            notify({"event": "step", "step": trainer.step_number, "tokens_per_s": speed, **row})
        # The adversary is held to what the encoder was when it began.
        begins = trainer.adversary is not None and trainer.step_number == trainer.adversary.start
        if trainer.step_number % config.eval_every_steps == 0 or begins or last:
            found = _evaluate(trainer, heldout, notify)
            if journal is not None:
                journal.add(found)
        # Checkpoints stand on log boundaries only, so that no half-averaged row is lost with a kill, and never where
        # steps are being skipped: they are what a failing run goes back to.
        due = not pending and time.monotonic() - saved > config.checkpoint_every_s and not float(trainer.health[2])
        if first and (last or due):
            checkpoint.save_state(work, trainer.state_dict())
            saved = time.monotonic()
    if journal is not None:
        journal.close()


def _roll_back(trainer: Trainer, work: Path, journal: Journal | None, row: dict[str, Tensor], notify: Notify) -> None:
    """Goes back to the last checkpoint and on with other text; UserError when that has not helped before."""
    config, failed_at = trainer.config, trainer.step_number
    trainer.rollbacks += 1
    loss = f"loss {float(row['mlm']):.3g}, gradient norm {float(row['grad_norm']):.3g}"
    if trainer.rollbacks > config.max_rollbacks:
        raise UserError(
            f"training keeps failing: {config.max_skips} steps in a row were skipped near step {failed_at} ({loss}), "
            f"after {config.max_rollbacks} returns to a checkpoint; lower peak_lr or use --precision fp32"
        )
    trainer.processes.wait()
    state = checkpoint.load_state(work)
    assert state is not None, "one is written before the first step"
    trainer.load_state_dict(state, move=False)
    trainer.processes.wait()
    if trainer.processes.first:
        checkpoint.save_state(work, trainer.state_dict())  # a kill from here on must not read the same text again
    if journal is not None:
        journal.cut(trainer.step_number)
        journal.add({"step": trainer.step_number, "rollback": trainer.rollbacks, "from_step": failed_at})
    notify(
        {
            "event": "note",
            "text": f"steps failed near {failed_at} ({loss}): back to step {trainer.step_number}, on with other text",
        }
    )


def _evaluate(trainer: Trainer, heldout: evaluate.Heldout, notify: Notify) -> Event:
    losses = evaluate.heldout_loss(trainer.model, heldout, device=trainer.device, bf16=trainer.bf16)
    rank = evaluate.rank_of(trainer.model, heldout, device=trainer.device, bf16=trainer.bf16)
    loss, rank = trainer.processes.agree([losses["mean"], rank])
    row: Event = {"step": trainer.step_number, "heldout_mlm": loss, "effective_rank": rank}
    row |= _watch(trainer, loss, rank, "held-out", notify)
    notify({"event": "evaluation", **row})
    return row


def _watch(trainer: Trainer, mlm: float, rank: float, where: str, notify: Notify) -> Event:
    """Returns what the record gains when the adversary has to back off: {} when it has not."""
    reason = trainer.adversary.watch(mlm, rank, trainer.step_number, where=where) if trainer.adversary else None
    if trainer.adversary is None or reason is None:
        return {}
    notify({"event": "note", "text": f"adversary halved to x{trainer.adversary.backoff:g}: {reason}"})
    return {"backoff": trainer.adversary.backoff}


def silent(_: Event) -> None:
    """Says nothing: what processes other than the first notify."""


def _mean(rows: list[dict[str, Tensor]]) -> dict[str, float]:
    """Returns the averages over the steps taken, and the share of those that were skipped."""
    names = sorted({name for row in rows for name in row})
    averages = {}
    for name in names:
        held = [row for row in rows if name in row]
        values = torch.stack([row[name] for row in held])
        if name != "skipped":
            values = values[torch.stack([row["skipped"] for row in held]) == 0]
        if len(values):
            averages[name] = float(values.mean())
    return averages


def _stored(asked: TrainConfig, work: Path) -> TrainConfig | None:
    """Returns the config of the run in `work`, None where there is none; UserError when another was asked for."""
    path = work / "plan.json"
    if not path.exists():
        return None
    plan = json.loads(path.read_text())
    settings = json.loads(json.dumps(to_plain(asked)))
    changed = sorted(name for name in settings if settings[name] != plan["asked"].get(name))
    if changed:
        raise UserError(
            f"{work} holds a run with other settings ({', '.join(changed)}); "
            "give the same ones to resume it, or another --name to start afresh"
        )
    return from_plain(plan["config"])


def _store(asked: TrainConfig, config: TrainConfig, work: Path, device: str) -> None:
    plan = {"asked": to_plain(asked), "config": to_plain(config), "threads": torch.get_num_threads(), "device": device}
    write_text(work / "plan.json", json.dumps(plan, indent=1) + "\n")


def _measure(
    config: TrainConfig,
    shard_folder: Path,
    vocab_size: int,
    device: str,
    teacher: Teacher | None,
    processes: Processes,
) -> int:
    """Returns how many steps fit the budget, timed on throw-away steps of both phases, whose time is paid too."""
    assert config.budget_s is not None
    began = time.monotonic()
    settled = replace(config, budget_s=None, steps=10**6)
    trial = Trainer(settled, shard_folder, vocab_size, device=device, teacher=teacher, processes=processes)
    without = _time_steps(trial)
    seconds = without
    if trial.adversary and config.adversary:
        trial.adversary.start = trial.step_number - trial.adversary.ramp_steps
        seconds = _time_steps(trial)
        start = config.adversary.start_frac
        seconds = start * without + (1 - start) * seconds
    heldout = evaluate.load_heldout(shard_folder, config, vocab_size)
    before = time.monotonic()
    _evaluate(trial, heldout, silent)
    seconds += (time.monotonic() - before) / config.eval_every_steps
    left = config.budget_s - (time.monotonic() - began)
    return int(processes.agree([max(LOG_EVERY_STEPS, left // seconds)])[0])


def _time_steps(trial: Trainer) -> float:
    for _ in range(3):
        trial.step()
    began = time.monotonic()
    for _ in range(MEASURE_STEPS):
        float(trial.step()["mlm"])
    return (time.monotonic() - began) / MEASURE_STEPS
