"""Encoder + adapter + examples -> units: the one fine-tuning loop. It names no task, dataset or model.

One training serves every evaluation language. Each learning rate of the recipe's grid starts from the same weights and
meets the same batches in the same order; the one with the best dev score predicts. On CPU, with the same number of
threads, the same seed gives the same bytes.

Shapes: N examples, K units of an example.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from unibench.adapters import ADVERSARY_STRENGTH, get_adapter
from unibench.adapters import recipe as default_recipe
from unibench.adapters.rows import Rows
from unibench.adversarial import Opposition, oppose
from unibench.cards import TaskCard
from unibench.data import Example
from unibench.loop import Loop, Model, Precision, Progress, max_row_tokens
from unibench.meter import DivergedError, Meter
from unibench.oracle import Oracle, Preferences, preferences
from unibench.store import Recipe
from unibench.token_cache import TokenCache
from unibench.trials import Search, Searched, Trial
from unibench.vocabulary import seen_vocabulary

__all__ = ["DivergedError", "Finetuned", "Oracle", "Trial", "finetune"]

Splits = Mapping[str, Sequence[Example]]
NONE: Splits = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Finetuned:
    """The units of every language, (N, K) in the order of the examples given, and how they came about.

    `learning_rate` is None, and `trials` empty, where nothing was trained. `counts` says for each split what the
    adapter met: rows, tokens, truncated or windowed examples, examples it could not train on; and whether bf16
    predictions had to be made again in fp32. `oracle` has the languages where there was a rate to choose and a dev set
    of their own to choose it by. `outputs` are the predictions themselves, where asked for. `cached` names the splits
    that did not have to be tokenised, and `prediction_parts` is into how many parts memory made predicting cut its
    batches. `adversary` says what the discriminator met; its accuracy stands in the trials.
    """

    units: Mapping[str, NDArray[np.float64]]
    unit_names: tuple[str, ...]
    learning_rate: float | None
    precision: Precision
    trials: tuple[Trial, ...]
    counts: Mapping[str, Mapping[str, int]]
    train_seconds: float
    oracle: Mapping[str, Oracle] = field(default_factory=dict)
    outputs: Mapping[str, list[Any]] = field(default_factory=dict)
    cached: tuple[str, ...] = ()
    prediction_parts: int = 1
    adversary: Mapping[str, Any] = field(default_factory=dict)

    def notes(self) -> dict[str, Any]:
        """Returns what happened on the way as plain JSON values; a score that is nan becomes None."""
        return {
            "learning_rate": self.learning_rate,
            "precision": self.precision,
            "trials": [trial.notes() for trial in self.trials],
            "counts": {split: dict(found) for split, found in self.counts.items()},
            "cached": list(self.cached),
            "prediction_parts": self.prediction_parts,
            "train_seconds": round(self.train_seconds, 3),
            **({"adversary": dict(self.adversary)} if self.adversary else {}),
        }


def finetune(
    load: Callable[[], tuple[Any, Any]],
    card: TaskCard,
    train: Sequence[Example],
    dev: Sequence[Example],
    evals: Splits,
    recipe: Recipe | None,
    seed: int,
    *,
    device: str = "cpu",
    precision: Precision = "fp32",
    learning_rate: float | None = None,
    progress: Progress | None = None,
    target_devs: Splits = NONE,
    unlabelled: Splits = NONE,
    language_of: Callable[[Example], str] | None = None,
    adversary_strength: float = ADVERSARY_STRENGTH,
    cache: Path | None = None,
    keep_outputs: bool = False,
) -> Finetuned:
    """Returns the units of `evals` in each of its languages after one fine-tuning on `train`.

    `load` returns a fast tokenizer and an encoder (transformers' AutoModel or like it) that are ours to change; it is
    called once. Nothing is trained when `recipe` is None or `train` is empty. `learning_rate` replaces the grid.
    `seed` decides the head's first weights, the order of the data and dropout; the global generators are left alone.

    `target_devs` are dev examples of evaluation languages that were not trained on: they choose the oracle and nothing
    else, and every trial's weights are kept in the CPU's memory for it. Of the examples `unlabelled` only inputs are
    read; if there are any, a discriminator of languages is confused while the task is learned (`language_of` a training
    example; an unlabelled one's is its key). `cache` is a folder for tokenised splits.

    Raises DivergedError when no rate gave a usable model, DoesNotFitError when memory does not hold a single item,
    ValueError when a grid has no dev examples to choose by, or an adversary nothing to tell apart.
    """
    training = recipe is not None and len(train) > 0
    recipe = recipe or default_recipe(card.family)
    rates = recipe.learning_rates if learning_rate is None else (learning_rate,)
    if training and len(rates) > 1 and not dev:
        raise ValueError(f"{len(rates)} learning rates but no dev examples to choose by; give dev or one learning_rate")
    adapter = get_adapter(card.family)
    tokenizer, encoder = load()
    with torch.random.fork_rng(devices=[device] if device.startswith("cuda") else []):
        seeds = np.random.SeedSequence(seed).generate_state(4).tolist()
        head = adapter.head(card, encoder.config.hidden_size, torch.Generator().manual_seed(seeds[0]))
        # .float(): a checkpoint may load in half precision, which would make fp32 (and the retry in it) a lie
        model = Model(encoder, head).float().to(device)
        loop = Loop(model, adapter, device, progress or (lambda phase, done, total: None))
        limit = max_row_tokens(encoder, recipe.max_tokens)
        tokens = TokenCache(folder=cache, adapter=adapter, tokenizer=tokenizer, card=card, max_tokens=limit)
        meter = Meter(loop=loop, card=card, tokens=tokens)
        found: Searched | None = None
        against: Opposition | None = None
        preferred: Preferences | None = None
        threshold: float | None = None
        if training:
            rows = tokens.encode("train", train, training=True)
            if not len(rows.example):
                raise ValueError(f"none of {len(train)} training examples can be trained on: {dict(rows.counts)}")
            meter.counts["train"] = dict(rows.counts)
            meter.rows("dev", dev)
            if unlabelled:
                against = _opposition(meter, rows, train, unlabelled, language_of, adversary_strength, seeds[3])
            spoken = {language_of(example) for example in train} if language_of is not None else set()
            wanted = {
                language: examples
                for language, examples in target_devs.items()
                if len(rates) > 1 and examples and language in evals and language not in spoken
            }
            with seen_vocabulary(encoder, rows, *([against.rows] if against else [])) as vocabulary:
                search = Search(
                    meter=meter,
                    vocabulary=vocabulary,
                    rows=vocabulary.renumbered(rows),
                    dev=dev,
                    dev_language=_language(dev, language_of),
                    recipe=recipe,
                    precision=precision,
                    order_seed=seeds[1],
                    dropout_seed=seeds[2],
                    opposition=against,
                )
                found = search.run(rates, keep_all=bool(wanted))
                preferred = preferences(found, meter, vocabulary, wanted, evals)
                model.load_state_dict(found.weights[found.best])
            precision, threshold = found.trials[found.best].precision, found.trials[found.best].threshold
        units, outputs, oracle = {}, {}, {}
        for language, examples in evals.items():
            measured = meter.measure(
                language, examples, precision, f"predict {language}", threshold=threshold, outputs=keep_outputs
            )
            units[language] = measured.units
            if measured.precision != precision:
                meter.counts[language]["predicted_in_fp32"] = 1
            if keep_outputs:
                outputs[language] = measured.outputs
            if found and preferred and (bound := preferred.oracle(language, found, meter, measured)):
                oracle[language] = bound
    trials = found.trials if found else ()
    return Finetuned(
        units=units,
        unit_names=adapter.unit_names(card),
        learning_rate=trials[found.best].learning_rate if found else None,
        precision=precision,
        trials=trials,
        counts=meter.counts,
        train_seconds=sum(trial.seconds for trial in trials),
        oracle=oracle,
        outputs=outputs,
        cached=tuple(tokens.hits),
        prediction_parts=loop.prediction_parts.count,
        adversary=against.notes() if against else {},
    )


def _language(examples: Sequence[Example], language_of: Callable[[Example], str] | None) -> str:
    """The one language that these examples are in, "" where there are several or nobody can tell."""
    found = {language_of(example) for example in examples} if language_of is not None else set()
    return found.pop() if len(found) == 1 else ""


def _opposition(
    meter: Meter,
    rows: Rows,
    train: Sequence[Example],
    unlabelled: Splits,
    language_of: Callable[[Example], str] | None,
    strength: float,
    seed: int,
) -> Opposition:
    if language_of is None:
        raise ValueError("unlabelled examples turn the adversary on; give language_of, the language of a training one")
    texts = [(language, example) for language, examples in unlabelled.items() for example in examples]
    text_rows = meter.rows("unlabelled", [example for _, example in texts])
    return oppose(
        rows, [language_of(example) for example in train], text_rows, [code for code, _ in texts], strength, seed
    )
