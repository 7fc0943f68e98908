"""Examples of every task family, told from one set of facts: row i says the same in every language."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from unibench.sample import pairs, spans, templates
from unibench.sample.examples import Row
from unibench.sample.facts import Part

TELLERS: Mapping[str, Callable[[str, Part, str, Sequence[str]], list[Row]]] = {
    "ner": spans.ner,
    "nli": pairs.nli,
    "qa": spans.qa,
    "sts": pairs.sts,
}


def rows(family: str, name: str, part: Part, language: str, labels: Sequence[str]) -> list[Row]:
    """Returns the rows of one split of the card `name`, in `language` or, for sts, a pair such as "en-ar".

    `labels` are the card's. Call it where `unavailable` returns None.
    """
    return TELLERS[family](name, part, language, labels)


def unavailable(family: str, language: str, labels: Sequence[str]) -> str | None:
    """Returns None where the sample has such a task in such a language, else why not."""
    spoken = pairs.languages_of(language) if family == "sts" else (language,)
    missing = [code for code in dict.fromkeys(spoken) if code not in templates.codes()]
    if missing:
        return f"the generated sample has no {', '.join(missing)} sentences; unibench doctor lists its languages"
    if family == "nli" and set(labels) != set(pairs.NLI_LABELS):
        return f"the generated sample labels pairs {', '.join(pairs.NLI_LABELS)}, not {', '.join(labels)}"
    if family == "ner" and not {"O", "B-PER", "B-ORG", "B-LOC"} <= set(labels):
        return f"the generated sample tags PER, ORG, LOC and DATE, not {', '.join(labels)}"
    return None
