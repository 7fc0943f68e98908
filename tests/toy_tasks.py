"""Four tasks that a tiny encoder learns in seconds, one for each family, and a tokenizer that knows their words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from tiny_encoders import bert, card_of, examples_of, tokenizer_of

from unibench.data import Example

PLACES = ("Lima", "Oslo", "Кыив", "東京", "Kano", "صنعاء", "Graz", "Baku")
PEOPLE = ("Anna", "Юрий", "Chidi", "Mei", "Omar", "Priya", "Lars", "José")
FILLER = ("river", "tree", "und", "или", "na", "blue", "seven", "the", "ya", "go")
WORDS = (*PLACES, *PEOPLE, *FILLER)
TOKENIZER = tokenizer_of("byte-level", tuple(" ".join(WORDS[i:] + WORDS[:i]) for i in range(len(WORDS))) * 3)
TAGS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")


def load() -> tuple[Any, Any]:
    """Returns the tokenizer and an untrained BERT."""
    return TOKENIZER, bert(TOKENIZER)


def pick(generator: np.random.Generator, words: tuple[str, ...], count: int) -> list[str]:
    return [words[i] for i in generator.integers(0, len(words), count)]


def ner(generator: np.random.Generator) -> tuple[dict[str, Any], Any]:
    tokens, tags = [], []
    for kind in generator.integers(0, 3, generator.integers(2, 6)):
        words, tag = ((FILLER, "O"), (PEOPLE, "PER"), (PLACES, "LOC"))[kind]
        if tag == "O":
            tokens += pick(generator, words, 1)
            tags += ["O"]
        else:
            tokens += pick(generator, words[:4], 1) + pick(generator, words[4:], 1)
            tags += [f"B-{tag}", f"I-{tag}"]
    return {"tokens": tuple(tokens)}, tuple(tags)


def nli(generator: np.random.Generator) -> tuple[dict[str, Any], Any]:
    label = int(generator.integers(0, 3))
    telling = (PLACES, PEOPLE, FILLER[7:])[label]
    hypothesis = pick(generator, telling, 3) + pick(generator, FILLER[:7], 1)
    return {"premise": " ".join(pick(generator, FILLER[:7], 3)), "hypothesis": " ".join(hypothesis)}, label


def qa(generator: np.random.Generator) -> tuple[dict[str, Any], Any]:
    words = pick(generator, FILLER, int(generator.integers(4, 14)))
    at = int(generator.integers(0, len(words)))
    words[at] = pick(generator, PLACES, 1)[0]
    start = len(" ".join(words[:at])) + (at > 0)
    return {"context": " ".join(words), "question": "the tree?"}, {"text": (words[at],), "start": (start,)}


def sts(generator: np.random.Generator) -> tuple[dict[str, Any], Any]:
    shared = generator.integers(0, 5)
    of_places = pick(generator, PLACES, 4)
    of_either = pick(generator, PLACES, int(shared)) + pick(generator, PEOPLE, 4 - int(shared))
    return {"sentence1": " ".join(of_places), "sentence2": " ".join(of_either)}, float(shared / 4)


def make(row: Callable[..., Any], count: int, seed: int) -> list[Example]:
    """Returns examples of one of the tasks below."""
    generator = np.random.default_rng(seed)
    return examples_of([row(generator) for _ in range(count)])


NLI = card_of("nli", "accuracy", ("entailment", "neutral", "contradiction"))
TOYS = {
    "ner": (card_of("ner", "span_f1", TAGS), ner),
    "nli": (NLI, nli),
    "qa": (card_of("qa", "exact_match"), qa),
    "sts": (card_of("sts", "spearman", head="bi-encoder"), sts),
}
