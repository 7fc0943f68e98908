"""Cards for files of one's own, one of each family, and what a test does with them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from unibench.cards import TaskCard, load_card
from unibench.data import Loaded, Origin, load
from unibench.errors import DataError

HUB = Origin(kind="hub")
Write = Callable[..., TaskCard]

# The three examples of the README.
NER = """
title = "My names"
family = "ner"
metric = "span_f1"
protocol = "monolingual"
languages = ["de"]
labels = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
label_map = { DATE = "O" }
columns = { tokens = "word", tags = "tag" }
train = [{ files = "train.txt", language = "de", reader = "conll", format = { columns = ["word", "_", "tag"] } }]
eval = { files = "test.txt", language = "de", reader = "conll", format = { columns = ["word", "_", "tag"] } }
options = { scheme = "iob1" }
about = { summary = "s", licence = "mine" }
"""
QA = """
title = "My questions"
family = "qa"
metric = "token_f1"
protocol = "monolingual"
languages = ["th"]
group = "column:context"
columns = { context = "context", question = "question", answers = "answers" }
train = [{ files = "train-*.json.gz", language = "th", reader = "squad" }]
eval = { files = "test.json", language = "th", reader = "squad" }
options = { unanswerable = true }
about = { summary = "s", licence = "mine" }
"""
STS = """
title = "My pairs"
family = "sts"
metric = "spearman"
protocol = "none"
languages = ["en", "sw"]
columns = { sentence1 = "a", sentence2 = "b", score = "gold" }
eval = { files = "pairs/{lang}.csv", aliases = { sw = "swa" }, reader = "csv" }
options = { head = "cosine", scale = 5 }
about = { summary = "s", licence = "mine" }
"""
NLI = """
title = "My inferences"
family = "nli"
metric = "accuracy"
protocol = "none"
languages = ["en"]
labels = ["yes", "no"]
columns = { premise = "pair.p", hypothesis = "pair.h", label = "gold" }
eval = { files = "test.jsonl", language = "en", reader = "jsonl" }
about = { summary = "s", licence = "mine" }
"""


def writer(folder: Path) -> Write:
    """Returns write(text, {file: content}) -> the card mine.toml in `folder`, beside those files and earlier ones."""

    def write(text: str, files: dict[str, str | bytes]) -> TaskCard:
        for name, content in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        folder.mkdir(exist_ok=True)
        (folder / "mine.toml").write_text(text, encoding="utf-8")
        return load_card(folder / "mine.toml")

    return write


def scored(card: TaskCard, language: str | None = None) -> Loaded:
    return load(card, "eval", [language or card.languages[0]], HUB)


def error_of(card: TaskCard, language: str | None = None) -> str:
    """Returns the one line that scoring the card fails with."""
    with pytest.raises(DataError) as caught:
        scored(card, language)
    assert "\n" not in str(caught.value)
    return str(caught.value)
