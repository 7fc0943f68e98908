"""Encoder + adapter + examples -> units: the one fine-tuning loop. It names no task, dataset or model.

One training serves every evaluation language. Each learning rate of the recipe's grid starts from the same weights and
meets the same batches in the same order; the one with the best dev score predicts. On CPU, with the same number of
threads, the same seed gives the same bytes.

Shapes: B rows of a batch, T tokens, D width, N examples, K units of an example.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from unibench.adapters import RECIPES, get_adapter
from unibench.adapters.rows import Rows
from unibench.cards import TaskCard
from unibench.data import Example
from unibench.loop import Loop, Model, NotFiniteError, Precision, Progress, max_row_tokens
from unibench.metrics import score
from unibench.store import Recipe


class DivergedError(RuntimeError):
    """No learning rate gave a usable model, or the output is not finite even in fp32. The caller records a failure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One learning rate's training. `losses` is the mean of each epoch, empty if it diverged; its `dev_score` is nan.

    `precision` is the one that was used in the end: "fp32" after a bf16 attempt whose numbers were not finite.
    """

    learning_rate: float
    dev_score: float
    losses: tuple[float, ...]
    precision: Precision
    seconds: float

    @property
    def diverged(self) -> bool:
        """True if the numbers were not finite in fp32 either."""
        return not self.losses


@dataclass(frozen=True, slots=True, kw_only=True)
class Finetuned:
    """The units of every language, (N, K) in the order of the examples given, and how they came about.

    `learning_rate` is None, and `trials` empty, where nothing was trained. `counts` says for each split what the
    adapter met: rows, tokens, truncated or windowed examples, examples it could not train on; and whether bf16
    predictions had to be made again in fp32.
    """

    units: Mapping[str, NDArray[np.float64]]
    unit_names: tuple[str, ...]
    learning_rate: float | None
    precision: Precision
    trials: tuple[Trial, ...]
    counts: Mapping[str, Mapping[str, int]]
    train_seconds: float

    def notes(self) -> dict[str, Any]:
        """Returns everything but the units as plain JSON values; a score that is nan becomes None."""
        return {
            "learning_rate": self.learning_rate,
            "precision": self.precision,
            "trials": [
                {
                    "learning_rate": trial.learning_rate,
                    "dev_score": None if math.isnan(trial.dev_score) else trial.dev_score,
                    "losses": list(trial.losses),
                    "precision": trial.precision,
                    "diverged": trial.diverged,
                    "seconds": round(trial.seconds, 3),
                }
                for trial in self.trials
            ],
            "counts": {split: dict(found) for split, found in self.counts.items()},
            "train_seconds": round(self.train_seconds, 3),
        }


def finetune(
    load: Callable[[], tuple[Any, Any]],
    card: TaskCard,
    train: Sequence[Example],
    dev: Sequence[Example],
    evals: Mapping[str, Sequence[Example]],
    recipe: Recipe | None,
    seed: int,
    *,
    device: str = "cpu",
    precision: Precision = "fp32",
    learning_rate: float | None = None,
    progress: Progress | None = None,
) -> Finetuned:
    """Returns the units of `evals` in each of its languages after one fine-tuning on `train`.

    `load` returns a fast tokenizer and an encoder (transformers' AutoModel or like it) that are ours to change; it is
    called once. Nothing is trained when `recipe` is None or `train` is empty. `learning_rate` replaces the grid.
    `seed` decides the head's first weights, the order of the data and dropout; the global generators are left alone.
    Raises DivergedError when no rate gave a usable model; ValueError when a grid has no dev examples to choose by.
    """
    adapter = get_adapter(card.family)
    tokenizer, encoder = load()
    training = recipe is not None and len(train) > 0
    recipe = recipe or RECIPES[card.family]
    rates = recipe.learning_rates if learning_rate is None else (learning_rate,)
    if training and len(rates) > 1 and not dev:
        raise ValueError(f"{len(rates)} learning rates but no dev examples to choose by; give dev or one learning_rate")
    rows: dict[str, Rows] = {}
    trials: list[Trial] = []
    with torch.random.fork_rng(devices=[device] if device.startswith("cuda") else []):
        seeds = np.random.SeedSequence(seed).generate_state(3).tolist()
        head = adapter.head(card, encoder.config.hidden_size, torch.Generator().manual_seed(seeds[0]))
        # .float(): a checkpoint may load in half precision, which would make fp32 (and the retry in it) a lie
        model = Model(encoder, head).float().to(device)
        loop = Loop(model, adapter, device, progress or (lambda phase, done, total: None))
        limit = max_row_tokens(encoder, recipe.max_tokens)
        if training:
            rows["train"] = adapter.encode(tokenizer, card, train, max_tokens=limit, training=True)
            rows["dev"] = adapter.encode(tokenizer, card, dev, max_tokens=limit, training=False)
            trials, chosen = _search(loop, card, rows, dev, recipe, rates, precision, seeds)
            precision = chosen.precision
        counts = {split: dict(found.counts) for split, found in rows.items()}
        units = {}
        for language, examples in evals.items():
            rows[language] = adapter.encode(tokenizer, card, examples, max_tokens=limit, training=False)
            answers, used = _answers(loop, rows[language], precision, language)
            counts[language] = {**rows[language].counts, **({"predicted_in_fp32": 1} if used != precision else {})}
            units[language] = adapter.units(card, examples, rows[language], answers)
    return Finetuned(
        units=units,
        unit_names=adapter.unit_names(card),
        learning_rate=chosen.learning_rate if training else None,
        precision=precision,
        trials=tuple(trials),
        counts=counts,
        train_seconds=sum(trial.seconds for trial in trials),
    )


def _search(
    loop: Loop,
    card: TaskCard,
    rows: Mapping[str, Rows],
    dev: Sequence[Example],
    recipe: Recipe,
    rates: Sequence[float],
    precision: Precision,
    seeds: Sequence[int],
) -> tuple[list[Trial], Trial]:
    """Returns every trial and the best, whose weights the model is left with; a tie goes to the earlier rate."""

    def attempt(rate: float) -> Trial:
        began = time.perf_counter()
        for used in dict.fromkeys((precision, "fp32")):  # bf16's failure is tried again in fp32, from the start
            loop.model.load_state_dict(initial)
            torch.manual_seed(seeds[2])
            try:
                losses = loop.train(rows["train"], recipe, rate, used, torch.Generator().manual_seed(seeds[1]))
                answers = loop.predict(rows["dev"], used, f"dev {rate:g}")
            except NotFiniteError:
                continue
            units = loop.adapter.units(card, dev, rows["dev"], answers)
            dev_score = float(score(card.metric, units)) if dev else math.nan
            seconds = time.perf_counter() - began
            return Trial(learning_rate=rate, dev_score=dev_score, losses=losses, precision=used, seconds=seconds)
        seconds = time.perf_counter() - began
        return Trial(learning_rate=rate, dev_score=math.nan, losses=(), precision="fp32", seconds=seconds)

    initial = _copy(loop.model)
    trials: list[Trial] = []
    best: tuple[Trial, dict[str, Tensor]] | None = None
    for rate in rates:
        trial = attempt(rate)
        trials.append(trial)
        if trial.diverged or (len(rates) > 1 and math.isnan(trial.dev_score)):
            continue
        if best is None or trial.dev_score > best[0].dev_score:
            best = trial, _copy(loop.model)
    if best is None:
        tried = ", ".join(
            f"{t.learning_rate:g} ({'not finite' if t.diverged else f'{card.metric} on dev undefined'})" for t in trials
        )
        raise DivergedError(f"no learning rate gave a usable model: {tried}")
    loop.model.load_state_dict(best[1])
    return trials, best[0]


def _answers(loop: Loop, rows: Rows, precision: Precision, language: str) -> tuple[list[NDArray[Any]], Precision]:
    """The adapter's array for every row, and the precision that gave finite numbers."""
    for used in dict.fromkeys((precision, "fp32")):
        try:
            return loop.predict(rows, used, f"predict {language}"), used
        except NotFiniteError:
            continue
    raise DivergedError(f"the encoder's output for {language!r} is not finite, in fp32 either")


def _copy(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
