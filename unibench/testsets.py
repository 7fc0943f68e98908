"""The texts of the task cards' test sets, to be kept out of a corpus: the splits that are scored, and no other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from unibench import data
from unibench.cards import TaskCard
from unibench.data import Origin
from unibench.errors import Unavailable, without_language

NOWHERE = "neither a data folder nor the Hub has any"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """Each text once. `used` and `unavailable` say, card by card, which split in which languages they come from."""

    texts: tuple[str, ...]
    used: tuple[str, ...] = ()
    unavailable: tuple[str, ...] = ()


def collect(cards: Sequence[TaskCard], origin: Origin) -> Scored:
    """Returns the texts of every card's test split that can be had from `origin`: each field of each example.

    The generated sample's are left out: its sentences stand nowhere else.
    """
    if origin.kind == "sample":
        return Scored(texts=(), unavailable=tuple(f"{card.name} {card.eval.split}: {NOWHERE}" for card in cards))
    texts: dict[str, None] = {}
    used: list[str] = []
    unavailable: list[str] = []
    seen: set[tuple[object, ...]] = set()
    for card in cards:
        had: list[str] = []
        missing: dict[str, list[str]] = {}
        for language in card.languages:
            place = (language, None if card.eval.hub else card.folder, repr(card.eval), *card.columns.values())
            try:
                if place not in seen:  # else another card scores the same split
                    texts |= dict.fromkeys(_texts(card, language, origin))
                    seen.add(place)
                had.append(language)
            except Unavailable as reason:
                missing.setdefault(without_language(str(reason), language), []).append(language)
        if had:
            used.append(f"{card.name} {card.eval.split} ({' '.join(had)})")
        unavailable += [f"{card.name} {card.eval.split} ({' '.join(of)}): {reason}" for reason, of in missing.items()]
    return Scored(texts=tuple(texts), used=tuple(used), unavailable=tuple(unavailable))


def _texts(card: TaskCard, language: str, origin: Origin) -> list[str]:
    loaded = data.load(card, "eval", [language], origin)
    fields = [field for example in loaded.examples for field in example.inputs.values()]
    return [field if isinstance(field, str) else " ".join(field) for field in fields]
