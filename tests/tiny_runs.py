"""Real pretrainings and real task cards, small enough that a test can afford to run them end to end."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import world

from unibert.config import Distill, ModelConfig, TrainConfig
from unibert.corpus import from_iterable
from unibert.pretrain import pretrain
from unibert.request import Request

CORPUS = from_iterable(world.corpus(), "world")
VOCAB_SIZE = 600
LANGUAGES = ("en", "ru", "zh")

NLI_CARD = """
title = "A toy: is the hypothesis in the premise?"
family = "nli"
metric = "accuracy"
protocol = "zero-shot"
train_language = "en"
languages = ["en", "ru", "zh"]
labels = ["yes", "no", "maybe"]
parallel = true
columns = { premise = "p", hypothesis = "h", label = "y" }
train = [{ hub = "toy/nli", config = "{lang}", split = "train" }]
dev = [{ hub = "toy/nli", config = "{lang}", split = "validation" }]
eval = { hub = "toy/nli", config = "{lang}", split = "test" }
about = { summary = "s", paper = "p", url = "https://example.org", licence = "as stated by its authors: none" }
"""
STS_CARD = """
title = "A toy: how alike?"
family = "sts"
metric = "spearman"
protocol = "none"
languages = ["en-ru", "en-en"]
columns = { sentence1 = "a", sentence2 = "b", score = "s" }
eval = { hub = "toy/sts", config = "{lang}", split = "test" }
options = { head = "cosine", scale = 5 }
about = { summary = "s", paper = "p", url = "https://example.org", licence = "as stated by its authors: none" }
"""


def asked(
    results: Path,
    name: str,
    *,
    steps: int | None = 20,
    size: str = "xxsmall",
    width: int = 64,
    distill: bool = False,
    is_teacher: bool = False,
    teacher: str = "auto",
    tokenizer: str = "auto",
    vocab_size: int = VOCAB_SIZE,
    **config: Any,
) -> Request:
    """Returns a request for one layer of `width` on the corpus of world.py; `config` are settings of TrainConfig."""
    settings: dict[str, Any] = {"batch_tokens": 512, "eval_every_steps": 100, **config}
    return Request(
        name=name,
        size=size,
        corpus=CORPUS,
        config=TrainConfig(
            model=ModelConfig(layers=1, width=width, positions=64), languages=CORPUS.languages, steps=steps, **settings
        ),
        results=results,
        distill=distill,
        teacher=teacher,
        tokenizer=tokenizer,
        vocab_size=vocab_size,
        distill_settings=Distill(teacher="") if distill else None,
        is_teacher=is_teacher,
    )


def train(request: Request) -> list[str]:
    """Trains on one thread, as a run that is to be repeated must, and returns the notes given on the way."""
    torch.set_num_threads(1)
    notes: list[str] = []
    pretrain(request, device="cpu", notify=lambda event: notes.append(event.get("text", "")))
    return [note for note in notes if note]


def unibench(*arguments: str | Path) -> int:
    """Runs the command line in this process, as its `unibench` script would, and returns the exit code."""
    from unibench.cli import main

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["unibench", *map(str, arguments)])
        try:
            main()
        except SystemExit as stopped:
            return int(stopped.code or 0)
    return 0


def nli_rows(language: str, count: int, seed: int) -> list[dict[str, Any]]:
    """Returns rows whose label is told by whether the hypothesis repeats the premise."""
    generator = np.random.default_rng([seed, LANGUAGES.index(language)])
    lines = world.lines(language)
    rows = []
    for at in generator.integers(0, len(lines) - 1, count).tolist():
        label = int(generator.integers(0, 3))
        rows.append(
            {"p": lines[at], "h": (lines[at], lines[at - 7], f"{lines[at]} {lines[at - 7]}")[label], "y": label}
        )
    return rows


def sts_rows(pair: str, count: int) -> list[dict[str, Any]]:
    """Returns pairs of lines; those with a score of 5 say the same words."""
    first, second = (world.lines(language) for language in pair.split("-"))
    return [{"a": first[i], "b": second[i * (i % 6)], "s": float(5 - i % 6)} for i in range(count)]


def write_toys(folder: Path, write: Callable[..., Path]) -> None:
    """Writes the two cards to folder/tasks and their data through `write`. Chinese has no training data."""
    (folder / "tasks").mkdir(parents=True)
    (folder / "tasks" / "toy_nli.toml").write_text(NLI_CARD, encoding="utf-8")
    (folder / "tasks" / "toy_sts.toml").write_text(STS_CARD, encoding="utf-8")
    splits = {f"{code}/test": nli_rows(code, 18, 3) for code in LANGUAGES}
    splits |= {f"{code}/train": nli_rows(code, 24, 1) for code in ("en", "ru")}
    splits |= {f"{code}/validation": nli_rows(code, 12, 2) for code in ("en", "ru")}
    write("toy/nli", splits)
    write("toy/sts", {f"{pair}/test": sts_rows(pair, 24) for pair in ("en-ru", "en-en")})
