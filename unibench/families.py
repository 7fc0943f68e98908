"""What every card of a task family must name: columns, metrics, and options of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from unibench import plugins
from unibench.errors import UnknownName


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One key of a card's [options]. `choices` are texts; without them it is of the type `kind` ("number", "bool").

    `default` None: the card must say it.
    """

    kind: str = "choice"
    choices: tuple[str, ...] = ()
    default: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """What every card of one task family must name."""

    columns: tuple[str, ...]
    metrics: tuple[str, ...]
    labels: bool  # whether the card lists labels, and may map the data set's to them
    options: Mapping[str, Option] = field(default_factory=dict)


FAMILIES: Mapping[str, Family] = {
    "ner": Family(
        columns=("tokens", "tags"),
        metrics=("span_f1", "precision", "recall"),
        labels=True,
        # how the data write where an entity begins; what is read becomes IOB2
        options={"scheme": Option(choices=("iob2", "iob1", "bioes"), default="iob2")},
    ),
    "nli": Family(columns=("premise", "hypothesis", "label"), metrics=("accuracy", "macro_f1"), labels=True),
    "qa": Family(
        columns=("context", "question", "answers"),
        metrics=("exact_match", "token_f1"),
        labels=False,
        options={
            "unanswerable": Option(kind="bool", default=False),  # an empty list of answers is a question without one
            "normalisation": Option(choices=("squad", "mlqa"), default="squad"),
        },
    ),
    "sts": Family(
        columns=("sentence1", "sentence2", "score"),
        metrics=("spearman", "pearson"),
        labels=False,
        options={
            "head": Option(choices=("cross-encoder", "bi-encoder", "cosine")),
            "scale": Option(kind="number"),  # the highest gold score; the lowest is 0
        },
    ),
}


def lookup(name: str) -> Family:
    """Returns the family of this name, built in or of an installed package; UnknownName where there is none."""
    if name in FAMILIES:
        return FAMILIES[name]
    plugin = plugins.family(name)
    if plugin is None:
        raise UnknownName("task family", name, known(), "unibench")
    return plugin.family


def known() -> tuple[str, ...]:
    """Returns the names of all families, the built-in ones first; imports none."""
    return (*FAMILIES, *(name for name in plugins.family_names() if name not in FAMILIES))
