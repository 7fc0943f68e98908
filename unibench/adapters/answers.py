"""Answer comparison as the official evaluations do it, so that published numbers stay comparable.

SQuAD (Rajpurkar et al. 2016, evaluate-v1.1.py; 2018, evaluate-v2.0.py): XQuAD and TyDiQA-GoldP use its rules in every
language, although the articles are English, the punctuation is ASCII and words are split at spaces: a Chinese answer is
one word, so its F1 is 0 or 1.

MLQA (Lewis et al. 2020, mlqa_evaluation_v1.py): the punctuation is Unicode's, the articles are those of the answer's
language, and Chinese characters are words. Its script refuses other languages than its seven; here those have no
articles and are split at spaces, so that an answer in Thai or Japanese is one word.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

Normalise = Callable[[str], str]

_ASCII_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ENGLISH = re.compile(r"\b(?:a|an|the)\b")
_HAN = re.compile(r"([\u4e00-\u9fa5])")  # the script's range, which is not all of them
# What the script takes for articles. The Vietnamese ones are classifiers and particles, and Arabic "al" goes wherever
# it stands, inside words too: the script's pattern says more, but nothing that can match.
_ARTICLES: Mapping[str, re.Pattern[str]] = {
    "en": _ENGLISH,
    "es": re.compile(r"\b(?:un|una|unos|unas|el|la|los|las)\b"),
    "vi": re.compile(r"\b(?:của|là|cái|chiếc|những)\b"),
    "de": re.compile(r"\b(?:ein|eine|einen|einem|eines|einer|der|die|das|den|dem|des)\b"),
    "ar": re.compile("ال"),
}


def normaliser(rules: str, language: str) -> Normalise:
    """Returns what makes two answers comparable under `rules` ("squad" or "mlqa"); `language` is that of the context.

    Either lowercases and removes punctuation, articles and extra white space, in that order.
    """
    return _squad if rules == "squad" else lambda text: _mlqa(text, language)


def compare(
    predicted: str, golds: Sequence[str], normalise: Normalise, *, may_be_empty: bool = False
) -> tuple[float, float]:
    """Returns (exact, f1) of the gold answer that suits each best: 1.0 for equal, and the overlap of words.

    Two empty answers are equal but have no common word, so their F1 is 0. Where a question may have no answer
    (`may_be_empty`, evaluate-v2.0.py) it is 1, and golds of which normalising leaves nothing are no answers; without
    any, nothing is right but the empty text.
    """
    said, wanted = normalise(predicted), [normalise(gold) for gold in golds]
    if may_be_empty:
        wanted = [gold for gold in wanted if gold] or [""]
    exact = float(said in wanted)
    if may_be_empty and not said:
        return exact, exact
    return exact, max(_overlap(said.split(), gold.split()) for gold in wanted)


def _squad(text: str) -> str:
    return " ".join(_ENGLISH.sub(" ", text.lower().translate(_ASCII_PUNCTUATION)).split())


def _mlqa(text: str, language: str) -> str:
    bare = "".join(c for c in text.lower() if c not in string.punctuation and unicodedata.category(c)[0] != "P")
    if language in _ARTICLES:
        bare = _ARTICLES[language].sub(" ", bare)
    if language == "zh":
        bare = _HAN.sub(r" \1 ", bare)
    return " ".join(bare.split())


def _overlap(predicted: list[str], gold: list[str]) -> float:
    same = sum((Counter(predicted) & Counter(gold)).values())
    if same == 0:
        return 0.0
    precision, recall = same / len(predicted), same / len(gold)
    return 2 * precision * recall / (precision + recall)
