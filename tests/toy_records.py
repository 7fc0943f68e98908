"""Records made up by hand: units of a known quality for each family, and how to read the tables made of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from unibench import metrics
from unibench.store import Job, Provenance, Recipe, RunRecord, ids_sha256
from unibench.tables import Table

RECIPE = Recipe(learning_rates=(1e-5,), epochs=1, batch_size=8, max_tokens=64)
FAMILY = {
    "xnli": ("nli", "accuracy"),
    "wikiann": ("ner", "span_f1"),
    "sts17": ("sts", "spearman"),
    "mlqa": ("qa", "token_f1"),
}
N = 120


def units_of(family: str, language: str, model: str, seed: int, quality: float) -> np.ndarray:
    gold_rng = np.random.default_rng(list(f"{family}/{language}".encode()))
    rng = np.random.default_rng(list(f"{family}/{language}/{model}/{seed}".encode()))
    if family == "nli":
        gold = gold_rng.integers(0, 3, N)
        return np.column_stack([gold, np.where(rng.random(N) < quality, gold, (gold + 1) % 3)]).astype(float)
    if family == "ner":
        spans = gold_rng.integers(0, 4, N)
        found = rng.binomial(spans, quality)
        return np.column_stack([found, rng.binomial(2, 1 - quality, N), spans - found]).astype(float)
    if family == "qa":
        f1 = np.clip(quality + rng.normal(0, 0.2, N), 0, 1)
        return np.column_stack([f1 == 1, f1]).astype(float)
    gold = gold_rng.random(N)
    return np.column_stack([gold, quality * gold + (1 - quality) * rng.random(N)])


def record(
    model: str, task: str = "xnli", language: str = "en", seed: int = 0, quality: float = 0.6, **more
) -> RunRecord:
    family, metric = FAMILY[task]
    units = units_of(family, language, model, seed, quality)
    ids = tuple(f"{i:04d}" for i in range(N))
    job = Job(model=model, task=task, protocol="zero-shot", train_languages=("en",), seed=seed, recipe=RECIPE)
    made = Provenance(
        commit="", dirty=False, packages={}, device="cpu", started="", seconds=1.0,
        card_sha256=f"card {task}", data_sha256=f"data {task} {language}", model_sha256=f"model {model}",
    )  # fmt: skip
    base = RunRecord(
        job=job, language=language, status="ok", family=family, metric=metric, split="test", parallel=task == "xnli",
        unit_names=metrics.METRICS[metric].unit_names, units=units, example_ids=ids,
        groups=tuple(f"{i // 3:04d}" for i in range(N)), example_ids_sha256=ids_sha256(ids), provenance=made,
    )  # fmt: skip
    changes = {key: value for key, value in more.items() if key in {"provenance", "job"}}
    if "job" in changes:
        more["job"] = replace(job, **changes["job"])
    if "provenance" in changes:
        more["provenance"] = replace(made, **changes["provenance"])
    return replace(base, **more)


def missing(model: str, task: str = "xnli", language: str = "en", status: str = "failed", **more) -> RunRecord:
    return replace(record(model, task, language, **more), status=status, units=None, unit_names=(), example_ids=(),
                   groups=(), provenance=None, example_ids_sha256="", reason="out of memory")  # fmt: skip


def store(models: Iterable[tuple[str, float]] = (("mbert", 0.5), ("small", 0.8)), **more) -> list[RunRecord]:
    return [
        record(model, task, language, seed, quality, **more)
        for model, quality in models
        for task, languages in (("xnli", ("de", "en", "ro")), ("wikiann", ("en", "ro")), ("sts17", ("en-tr",)))
        for language in languages
        for seed in (0, 1)
    ]


def table(tables: list[Table], title: str) -> Table:
    (found,) = [t for t in tables if t.title.startswith(title)]
    return found


def row(found: Table, *key: str) -> dict[str, object]:
    (values,) = [r for r in found.rows if r[: len(key)] == key]
    return dict(zip([c.name for c in found.columns], values, strict=True))


def notes(tables: list[Table]) -> str:
    return "\n".join(note for t in tables for note in t.footnotes)
