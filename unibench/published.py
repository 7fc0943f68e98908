"""What others published of a model on a task, as the task cards cite it: `[[about.reference]]`."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from unibench.cards import TaskCard


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What one source says of one model on one task, in 0..1 (correlations: -1..1).

    `average` is None where there is none; `computed` says that it is ours, the mean of what the source gives language
    by language. `averaged` holds the languages it is an average of; empty when they are not known: `unknown` says why.
    """

    task: str
    model: str
    metric: str
    source: str
    note: str
    scores: Mapping[str, float]
    average: float | None
    computed: bool
    averaged: tuple[str, ...]
    unknown: str


def published(card: TaskCard) -> list[Published]:
    """Returns the scores that a card cites, in its order."""
    out = []
    for raw in card.about.get("reference", ()):
        scores = {language: percent / 100 for language, percent in raw.get("percent", {}).items()}
        average = raw["average_percent"] / 100 if "average_percent" in raw else None
        computed = average is None and len(scores) > 1
        averaged, unknown = _averaged(raw, card)
        out.append(
            Published(
                task=card.name,
                model=raw["model"],
                metric=raw["metric"],
                source=raw["source"],
                note=raw.get("note", ""),
                scores=scores,
                average=math.fsum(scores.values()) / len(scores) if computed else average,
                computed=computed,
                averaged=averaged,
                unknown=unknown,
            )
        )
    return out


def _averaged(raw: Mapping[str, Any], card: TaskCard) -> tuple[tuple[str, ...], str]:
    """Returns the languages that an average is over: those the entry names, else all of the card's.

    A note that counts another number of languages than the card has leaves them unknown.
    """
    for key in ("languages", "percent"):
        if raw.get(key):
            return tuple(raw[key]), ""
    count = re.search(r"(\d+) languages", raw.get("note", ""))
    if count and int(count[1]) != len(card.languages):
        return (), f"published over {count[1]} languages, of which its card has {len(card.languages)} and names none"
    return card.languages, ""


def sources(entries: Iterable[Published], cards: Iterable[TaskCard]) -> list[str]:
    """Returns footnotes: each source once a task, with what it says of its numbers and what was made of them here."""
    gathered: dict[tuple[str, str, str], list[str]] = {}
    computed: dict[str, list[str]] = {}
    for entry in entries:
        gathered.setdefault((entry.task, entry.source, entry.note), []).append(f"{entry.model} {entry.metric}")
        if entry.computed:
            computed.setdefault(entry.task, []).append(f"{entry.model} {entry.metric}")
    notes = [
        f"Published, {task}, {', '.join(of)}: {source}{f'; {note}' if note else ''}."
        for (task, source, note), of in gathered.items()
    ]
    if computed:
        words = "; ".join(f"{task} {', '.join(of)}" for task, of in computed.items())
        notes.append(f"Averages that their source does not give are means of its languages: {words}.")
    silent = [card.name for card in cards if not card.about.get("reference")]
    return [*notes, *([f"No published scores on the cards of {', '.join(silent)}."] if silent else [])]
