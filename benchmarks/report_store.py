"""A store of made-up records of four families, and what a report of it takes: part (c) of `statistics.py`."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from unibench import metrics, store
from unibench.metrics import Array
from unibench.store import Job, Provenance, Recipe, RunRecord

FULL = {"models": 20, "seeds": 5, "cells": 100, "examples": 500}
TINY = {"models": 3, "seeds": 2, "cells": 8, "examples": 60}
# task: its family, metric, examples a group, and whether its languages are translations of each other
TASKS = {
    "xnli": ("nli", "accuracy", 3, True),
    "wikiann": ("ner", "span_f1", 1, False),
    "xquad": ("qa", "token_f1", 5, True),
    "stsb_multi": ("sts", "spearman", 1, True),
}
RECIPE = Recipe(learning_rates=(1e-5,), epochs=1, batch_size=32, max_tokens=128)
BASELINE = "mbert"
MARK = "generated.json"


def units_of(family: str, gold: np.random.Generator, rng: np.random.Generator, n: int, quality: float) -> Array:
    """Returns the units (N, K) of a model that is right in about `quality` of what `gold` draws."""
    if family == "nli":
        label = gold.integers(0, 3, n)
        return np.column_stack([label, np.where(rng.random(n) < quality, label, (label + 1) % 3)]).astype(float)
    if family == "ner":
        spans = gold.integers(0, 4, n)
        right = rng.binomial(spans, quality)
        return np.column_stack([right, rng.binomial(2, 1 - quality, n), spans - right]).astype(float)
    if family == "qa":
        f1 = np.clip(gold.normal(quality, 0.2, n) + rng.normal(0, 0.3, n), 0, 1)
        return np.column_stack([f1 == 1, f1]).astype(float)
    score = gold.integers(0, 26, n) / 25
    return np.column_stack([score, quality * score + (1 - quality) * rng.random(n)])


def write(folder: Path, size: argparse.Namespace) -> None:
    """Writes models × seeds × cells records, the cells shared out among four tasks."""
    names = [BASELINE, *(f"model-{i:02d}" for i in range(1, size.models))]
    ids = tuple(f"{i:05d}" for i in range(size.examples))
    for task, (family, metric, together, parallel) in TASKS.items():
        groups = tuple(f"{i // together:05d}" for i in range(size.examples))
        for language in range(size.cells // len(TASKS)):
            for model, name in enumerate(names):
                quality = 0.6 + 0.2 * model / size.models
                for seed in range(size.seeds):
                    gold = np.random.default_rng([len(task), 0 if parallel else language])
                    rng = np.random.default_rng([len(task), language, model, seed])
                    units = units_of(family, gold, rng, size.examples, quality)
                    names_of = metrics.METRICS[metric].unit_names
                    job = Job(
                        model=name, task=task, protocol="zero-shot", train_languages=("en",), seed=seed, recipe=RECIPE
                    )
                    made = Provenance(
                        commit="", dirty=False, packages={}, device="cpu", started="2025-01-01T00:00:00Z", seconds=1.0,
                        card_sha256=f"card {task}", data_sha256=f"data {task} {language}", model_sha256=name,
                    )  # fmt: skip
                    store.write(folder, RunRecord(
                        job=job, language=f"l{language:02d}", status="ok", family=family, metric=metric, split="test",
                        parallel=parallel, scores=metrics.scores(names_of, units), unit_names=names_of, units=units,
                        example_ids=ids, groups=groups, example_ids_sha256=store.ids_sha256(ids), provenance=made,
                    ))  # fmt: skip


def ready(folder: Path, size: argparse.Namespace) -> None:
    """Fills the folder, or leaves of one that was filled alike nothing but its records.

    Stops the program where the folder holds anything else.
    """
    wanted = {name: getattr(size, name) for name in FULL}
    mark = folder / MARK
    if mark.is_file():
        if json.loads(mark.read_text()) != wanted:
            sys.exit(
                f"{folder} was made with {mark.read_text().strip()}, not {json.dumps(wanted)}; name another --store"
            )
        for path in folder.iterdir():  # whatever a report kept there would make the first one warm
            if path.name not in (MARK, "runs"):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        return
    if folder.exists() and any(folder.iterdir()):
        sys.exit(f"{folder} holds something else; name a new folder, or one that was made by this benchmark")
    folder.mkdir(parents=True, exist_ok=True)
    write(folder, size)
    mark.write_text(json.dumps(wanted) + "\n")


def timed(folder: Path, out: Path) -> dict[str, float]:
    """Returns CPU and wall seconds and the peak of memory, in MB, of one `unibench report --significance`."""
    here = Path(__file__).resolve().parent
    command = [sys.executable, "-m", "unibench.cli", "report", "--significance", "--results", str(folder)]
    done = subprocess.run(
        [sys.executable, str(here / "timed.py"), *command, "--format", "json", "--out", str(out)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(here.parent)}, capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"the report ended with {done.returncode}\n{done.stderr}")
    found: dict[str, float] = json.loads(done.stdout)
    return found


def compare(folder: Path, size: argparse.Namespace) -> dict[str, Any]:
    """Times a report of the store with nothing computed before, and again; prints and returns both."""
    began = time.monotonic()
    ready(folder, size)
    records = sum(1 for _ in (folder / "runs").rglob("*.json"))
    print(
        f"(c) report --significance on {records:,} records: {size.models} models × {size.seeds} seeds × {size.cells} "
        f"cells of {size.examples} examples, four families; store ready in {time.monotonic() - began:,.0f} s"
    )
    out = folder / "report.json"
    found, texts = {}, []
    for name in ("cold", "warm"):
        row = found[name] = timed(folder, out)
        texts.append(out.read_bytes())
        print(f"{name:5} {row['cpu_s']:8,.1f} s CPU {row['wall_s']:8,.1f} s wall {row['memory_mb']:8,.0f} MB")
    same = texts[0] == texts[1]
    print("both reports are the same" if same else "THE TWO REPORTS DIFFER")
    return {"records": records, **found, "same": same}
