"""What evaluate-v1.1.py of SQuAD does to an answer (Rajpurkar et al. 2016), one character at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence

PUNCTUATION = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
ARTICLES = ("a", "an", "the")


def normalise(text: str) -> str:
    """Lowercase; drop punctuation; blank out articles that stand as words; one space between what is left."""
    kept = [character for character in text.lower() if character not in PUNCTUATION]
    return " ".join(without_words("".join(kept), ARTICLES).split())


def without_words(text: str, words: Sequence[str]) -> str:
    """Replaces these words by a space. A word is a longest run of letters and digits: a vowel sign ends one."""
    out, run = "", ""
    for character in text + "\n":
        if character.isalnum() or character == "_":
            run += character
            continue
        out += " " if run in words else run
        out += character
        run = ""
    return out[:-1]


def words_in_common(first: Sequence[str], second: Sequence[str]) -> int:
    """Counts the words of both, each as often as the text that has fewer of it."""
    left = list(second)
    common = 0
    for word in first:
        if word in left:
            left.remove(word)
            common += 1
    return common


def f1(predicted: Sequence[str], gold: Sequence[str]) -> float:
    common = words_in_common(predicted, gold)
    if common == 0:
        return 0.0
    precision, recall = common / len(predicted), common / len(gold)
    return 2 * precision * recall / (precision + recall)


def evaluate(predicted: str, golds: Sequence[str], normal: Callable[[str], str] = normalise) -> tuple[float, float]:
    """Exact match and F1, each with the gold answer that suits it best."""
    exact = [1.0 if normal(predicted) == normal(gold) else 0.0 for gold in golds]
    overlap = [f1(normal(predicted).split(), normal(gold).split()) for gold in golds]
    return max(exact), max(overlap)
