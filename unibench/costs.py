"""What fine-tunings cost beside one another, and how long the rest of a sweep takes. Pure; no time is read here.

The cost of a fine-tuning is tokens × passes × (parameters without embeddings + what a token costs an encoder of any
size), a backward pass counted as two more. What a unit of it takes on this machine, and how many tokens a task has, is
only known from fine-tunings that are done: before the first there is no estimate.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from unibench.data import DEV_LIMIT
from unibench.jobs import Planned
from unibench.models import Encoder
from unibench.store import RunRecord
from unibench.supplies import ORACLE_LIMIT

TRAINED_PASSES = 3  # forward, and backward through activations and through weights
TOKEN_PARAMETERS = (
    100_000  # what a token costs beside matrices: on a CPU, 1×64 against 2×128 gave 75k (ner), 150k (nli)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """One fine-tuning that is done: the seconds it took and the tokens of its parts, `eval_tokens` a language's."""

    item: Planned
    seconds: float
    train_tokens: float
    dev_tokens: float
    eval_tokens: float


def timed(item: Planned, records: Iterable[RunRecord]) -> Timed | None:
    """Returns what the "ok" records of a job say of its time; None where they say nothing."""
    made = [(record.language, record.provenance) for record in records if record.status == "ok" and record.provenance]
    counts = [(language, provenance.extra.get("counts", {})) for language, provenance in made]
    evals = [found[language]["tokens"] for language, found in counts if "tokens" in found.get(language, {})]
    if not evals:
        return None
    train, dev = (fmean(found.get(part, {}).get("tokens", 0) for _, found in counts) for part in ("train", "dev"))
    return Timed(
        item=item,
        seconds=max(provenance.seconds for _, provenance in made),
        train_tokens=train,
        dev_tokens=dev,
        eval_tokens=fmean(evals),
    )


def estimates(items: Sequence[Planned], done: Sequence[Timed]) -> list[float] | None:
    """Returns the seconds each fine-tuning will take, or None while none is done.

    By what the same model took on the same task; else by what a unit of cost took over all. A task of which nothing is
    done counts as the mean of the others, and so does a model whose size is not known.
    """
    if not done:
        return None
    sizes: dict[str, list[Timed]] = defaultdict(list)
    for found in done:
        sizes[found.item.job.task].append(found)
    known = [count for found in done if (count := parameters(found.item.encoder)) is not None]
    typical = fmean(known) if known else 0.0

    def weight(item: Planned) -> float:
        count = parameters(item.encoder)
        return TOKEN_PARAMETERS + (typical if count is None else count)

    pairs: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    overall: list[tuple[float, float]] = []
    for found in done:
        passed = _passes(found.item, [found])
        pairs[found.item.job.task, found.item.job.model].append((found.seconds, passed))
        overall.append((found.seconds, passed * weight(found.item)))

    def seconds(item: Planned) -> float:
        passed = _passes(item, sizes.get(item.job.task, done))
        same = pairs.get((item.job.task, item.job.model))
        if same:
            return passed * _rate(same)
        return passed * weight(item) * _rate(overall)

    return [seconds(item) if item.languages else 0.0 for item in items]


def remaining(left: Sequence[float], elapsed: Sequence[float], workers: int) -> float:
    """Returns the seconds until all is done: `left` are estimates of what waits or runs, `elapsed` 0 for what waits.

    Never less than the longest of them needs alone, however many workers there are.
    """
    rest = [max(estimate - ran, 0.0) for estimate, ran in zip(left, elapsed, strict=True)]
    return max(max(rest, default=0.0), sum(rest) / workers)


def _rate(measured: Sequence[tuple[float, float]]) -> float:
    work = sum(amount for _, amount in measured)
    return sum(seconds for seconds, _ in measured) / work if work else 0.0


def _passes(item: Planned, like: Sequence[Timed]) -> float:
    """Returns the tokens a job passes through its encoder, those of its parts being the mean of jobs `like` it."""
    train, dev, scored = (
        fmean(getattr(found, f"{part}_tokens") for found in like) for part in ("train", "dev", "eval")
    )
    passed = scored * len(item.languages)
    recipe = item.job.recipe
    if recipe is not None:
        selected = dev * (recipe.epochs + len(item.oracle) * ORACLE_LIMIT / DEV_LIMIT)
        rows = 2 if item.job.adversarial else 1  # each batch has as many rows of text beside it
        passed += len(recipe.learning_rates) * (TRAINED_PASSES * recipe.epochs * rows * train + selected)
    return passed


def parameters(encoder: Encoder) -> float | None:
    """Returns how many parameters the encoder has without embeddings, by its manifest or config; None if unknown."""
    if "parameters_without_embeddings" in encoder.about:
        return float(encoder.about["parameters_without_embeddings"])
    if encoder.folder is None or encoder.kind == "scratch":  # a floor's folder holds another model's config
        return None
    return _of_config(encoder.folder)


def _of_config(folder: Path) -> float | None:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        width = config.get("hidden_size") or config["dim"]
        inner = config.get("intermediate_size") or config["hidden_dim"]
        layers = config.get("num_hidden_layers") or config["n_layers"]
        return float(layers * (4 * width * width + 2 * width * inner))  # attention's four matrices, feed-forward's two
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
