"""What mlqa_evaluation_v1.py does to an answer (Lewis et al. 2020), in the language of its context."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from oracles import squad_v1

LANGUAGES = ("en", "es", "hi", "vi", "de", "ar", "zh")
WORDS = {
    "en": ("a", "an", "the"),
    "es": ("un", "una", "unos", "unas", "el", "la", "los", "las"),
    "vi": ("của", "là", "cái", "chiếc", "những"),
    "de": ("ein", "eine", "einen", "einem", "eines", "einer", "der", "die", "das", "den", "dem", "des"),
}


def normalise(text: str, language: str) -> str:
    if language not in LANGUAGES:
        raise ValueError(f"Unknown Language {language}")
    kept = ""
    for character in text.lower():
        if not (unicodedata.category(character).startswith("P") or character in squad_v1.PUNCTUATION):
            kept += character
    if language == "ar":  # wherever the two letters stand beside each other
        kept = " ".join(kept.split("\u0627\u0644"))
    kept = squad_v1.without_words(kept, WORDS.get(language, ()))
    if language == "zh":
        kept = "".join(f" {c} " if 0x4E00 <= ord(c) <= 0x9FA5 else c for c in kept)
    return " ".join(kept.split())


def evaluate(predicted: str, golds: Sequence[str], language: str) -> tuple[float, float]:
    return squad_v1.evaluate(predicted, golds, lambda text: normalise(text, language))
