"""What is stored of a plan: how long it took, what it lacks, and why some of it could not be had."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from unibench import costs, gaps, store
from unibench.costs import Timed
from unibench.jobs import Planned, Surroundings
from unibench.store import EVERYTHING

MOST_NAMED = 4  # names in one line of reasons


def done_before(planned: Sequence[Planned], around: Surroundings) -> list[Timed]:
    """Returns how long those of a plan took that are stored, if they ran on such a device with as many threads."""
    found = []
    for item in planned:
        paths = (store.record_path(around.results, item.job, language) for language in item.languages)
        path = next((path for path in paths if path.exists()), None)
        if path is None:
            continue
        record = store.read(path, units=False)
        made = record.provenance
        if made is None or (made.device, made.extra.get("threads")) != (around.device, around.threads):
            continue
        took = costs.timed(item, [record])
        if took is not None:
            found.append(took)
    return found


def without_predictions(planned: Sequence[Planned], around: Surroundings) -> int:
    """Returns how many stored records of a plan were made without keeping predictions."""
    found = filter(Path.exists, _paths(planned, around.results))
    return sum(not store.read(path, units=False).predictions for path in found)


def any_scores(planned: Sequence[Planned], around: Surroundings) -> bool:
    """Whether any part of a plan has an "ok" record."""
    return any(path.exists() for path in _paths(planned, around.results))


def unavailable(planned: Sequence[Planned], around: Surroundings) -> list[str]:
    """Returns a line for each reason why parts of a plan could not be had, and what it holds for.

    Reasons that differ in their language or model alone are one.
    """
    attempts = [
        store.read(last, units=False)
        for path in _paths(planned, around.results)
        if not path.exists() and (last := store.last_attempt(path)) is not None
    ]
    where: dict[str, tuple[dict[str, None], ...]] = {}
    for record, reason in gaps.general(record for record in attempts if record.status == "unavailable"):
        parts = where.setdefault(reason, ({}, {}, {}))
        for part, name in zip(parts, (record.job.task, record.job.model, record.language), strict=True):
            part[name] = None
    return [
        f"unavailable: {_named(tasks)} {_named(models)}{'' if EVERYTHING in codes else f' ({_named(codes)})'}: {reason}"
        for reason, (tasks, models, codes) in where.items()
    ]


def _paths(planned: Sequence[Planned], results: Path) -> Iterator[Path]:
    for item in planned:
        for language in (*item.languages, *item.missing):
            yield store.record_path(results, item.job, language)


def _named(names: Collection[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return " ".join([*names][:MOST_NAMED]) + more
