"""Answer comparison as the official SQuAD v1.1 evaluation does it, so that published numbers stay comparable.

Rajpurkar et al. 2016, evaluate-v1.1.py. XQuAD, MLQA's basic score and TyDiQA-GoldP use the same rules in every
language, although the articles are English, the punctuation is ASCII and words are split at spaces: a Chinese answer is
one word, so its F1 is 0 or 1.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(a|an|the)\b")


def normalise(text: str) -> str:
    """Returns `text` lowercased, without ASCII punctuation, English articles and extra white space, in that order."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def exact(predicted: str, golds: Sequence[str]) -> float:
    """Returns 1.0 if the answer equals any gold answer after normalisation, else 0.0."""
    return float(any(normalise(predicted) == normalise(gold) for gold in golds))


def f1(predicted: str, golds: Sequence[str]) -> float:
    """Returns the best word-overlap F1 over the gold answers; no common word is 0, even where both are empty."""
    return max(_f1(normalise(predicted).split(), normalise(gold).split()) for gold in golds)


def _f1(predicted: list[str], gold: list[str]) -> float:
    same = sum((Counter(predicted) & Counter(gold)).values())
    if same == 0:
        return 0.0
    precision, recall = same / len(predicted), same / len(gold)
    return 2 * precision * recall / (precision + recall)
