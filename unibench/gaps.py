"""Records that have no score -> the table of what is missing and why, each reason said once."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from unibench.catalogue import CATALOGUE
from unibench.errors import without_language
from unibench.store import EVERYTHING, RunRecord
from unibench.tables import Column, Table

# what stands before the last name of an absolute path: it tells nobody on another machine anything
FOLDERS = re.compile(r"(?<![\w/:.])(?:/[^/\s:]+)+/(?=[^/\s]+)")

_Alike = tuple[str, str, tuple[str, ...], tuple[int, ...]]  # status, reason, languages, seeds


def gaps_table(records: Iterable[RunRecord], title: str, tasks: Collection[str]) -> Table | None:
    """Returns what is missing and why, equal reasons gathered; None when nothing failed or was out of reach.

    Tasks that miss a model for one reason share a row, and so do models that are missing alike. `tasks` are all there
    are, so that a row may say that it holds for all of them.
    """
    languages: dict[tuple[str, str, str, str], set[str]] = {}
    seeds: dict[tuple[str, str, str, str], set[int]] = {}
    for record, reason in general(records):
        key = (record.job.task, record.job.model, record.status, reason)
        languages.setdefault(key, set()).add(record.language)
        seeds.setdefault(key, set()).add(record.job.seed)
    by_model: dict[tuple[str, _Alike], list[str]] = {}
    for (task, model, status, reason), found in sorted(languages.items()):
        numbers = tuple(sorted(seeds[task, model, status, reason]))
        by_model.setdefault((model, (status, reason, tuple(sorted(found)), numbers)), []).append(task)
    alike: dict[tuple[tuple[str, ...], _Alike], list[str]] = {}
    for (model, what), of in sorted(by_model.items(), key=lambda item: (item[1], item[0])):
        alike.setdefault((tuple(of), what), []).append(model)
    if not alike:
        return None
    rows = tuple(
        (
            f"all {len(of)} tasks" if len(of) > 1 and set(of) == set(tasks) else ", ".join(of),
            ", ".join(models), status, reason, *_which(found), " ".join(map(str, numbers)),
        )
        for (of, (status, reason, found, numbers)), models in alike.items()
    )  # fmt: skip
    names = ("task", "model", "status", "reason", "languages", "which", "seeds")
    return Table(title=title, columns=tuple(Column(name=name) for name in names), rows=rows)


def _which(languages: Iterable[str]) -> tuple[str, str]:
    """Returns how many languages these are and which; of a model that isn't there at all nobody counted any."""
    named = [language for language in languages if language != EVERYTHING]
    return (str(len(named)) if named else EVERYTHING), " ".join(named)


def general(records: Iterable[RunRecord]) -> list[tuple[RunRecord, str]]:
    """Returns each record with its reason, less its language and its model's Hub id, so that equal reasons read alike.

    A reason that several languages share names none of them: what it names (a language trained on) stays.
    """
    records = list(records)
    languages: dict[str, set[str]] = {}
    for record in records:
        languages.setdefault(record.reason, set()).add(record.language)
    out = []
    for record in records:
        model, reason = record.job.model, record.reason
        if len(languages[reason]) == 1:
            reason = without_language(reason, record.language)
        hub = CATALOGUE[model].hub if model in CATALOGUE else model
        reason = FOLDERS.sub("", reason)
        out.append((record, re.sub(rf"(?<!\S){re.escape(hub)}(?!\S)", "…", reason)))
    return out
