"""Which records may share a table: those of one setting, made from the same card, data and model."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from unibench.errors import StaleRecord
from unibench.store import Recipe, RunRecord, record_path


def by_setting(records: Iterable[RunRecord]) -> dict[str, list[RunRecord]]:
    """Returns records parted by what must not meet in a table, keyed by words for a title, in sorted order.

    Recipes differ between families, and "multilingual" trains every task on its own languages: there a setting is
    parted only where one and the same task was run in two ways.
    """
    records = list(records)
    ways: dict[tuple[str, str], set[str]] = {}
    for record in records:
        if record.status == "ok":
            ways.setdefault((_setting(record), record.job.task), set()).add(_way(record))
    out: dict[str, list[RunRecord]] = {}
    untrained: list[RunRecord] = []
    for record in records:
        if record.job.protocol == "none":
            untrained.append(record)
            continue
        setting = _setting(record)
        several = ways.get((setting, record.job.task), set())
        if len(several) > 1 and _way(record) in several:
            setting = f"{setting}, {_way(record)}"
        out.setdefault(setting, []).append(record)
    # A task that trains nothing is the same experiment under every protocol, so it joins all that score like it.
    trained = [(_scored(group[0]), group) for group in out.values()]
    for record in untrained:
        hosts = [group for scored, group in trained if scored == _scored(record)]
        for group in hosts or [out.setdefault(_setting(record), [])]:
            group.append(record)
    return dict(sorted(out.items()))


def _scored(record: RunRecord) -> tuple[str, int | None]:
    return record.job.origin, record.job.eval_limit


def _setting(record: RunRecord) -> str:
    job = record.job
    words = [] if job.origin == "data" else [f"{job.origin} data"]
    if job.protocol == "monolingual" and job.train_languages == (record.language,):
        words.append("monolingual")
    elif job.protocol == "multilingual" or not job.train_languages:
        words.append("nothing trained" if job.protocol == "none" else job.protocol)
    else:
        words.append(f"{job.protocol} from {'+'.join(job.train_languages)}")
    if job.train_limit is not None:
        words.append(f"at most {job.train_limit} training examples")
    if job.eval_limit is not None:
        words.append(f"at most {job.eval_limit} test examples")
    return ", ".join(words)


def _way(record: RunRecord) -> str:
    recipe: Recipe | None = record.job.recipe
    trained = f"trained on {'+'.join(record.job.train_languages)}, " if record.job.protocol == "multilingual" else ""
    if recipe is None:
        return trained + "no recipe"
    rates = "/".join(f"{rate:g}" for rate in recipe.learning_rates)
    return (
        f"{trained}{recipe.epochs:g} epochs, batch {recipe.batch_size}, {recipe.max_tokens} tokens, learning rates "
        f"{rates}, warm-up {recipe.warmup_frac:g}, decay {recipe.weight_decay:g}"
    )


def refuse_mixtures(records: Iterable[RunRecord]) -> None:
    """Raises StaleRecord, naming both records and what differs, when two may not share a table."""
    first: dict[tuple[str, ...], tuple[str, RunRecord]] = {}
    for record in records:
        made, task, language = record.provenance, record.job.task, record.language
        for what, key, value in (
            ("card", (task,), made.card_sha256 if made else ""),
            ("data", (task, language), made.data_sha256 if made else ""),
            ("example ids", (task, language), record.example_ids_sha256),
            ("model", (record.job.model,), made.model_sha256 if made else ""),
        ):
            before, other = first.setdefault((what, *key), (value, record))
            if before != value:
                raise StaleRecord(
                    f"{file_of(record)} and {file_of(other)} differ in their {what} ({value[:8] or 'unknown'} and "
                    f"{before[:8] or 'unknown'}), so they can't share a table; move the older one away and run again, "
                    "or choose another --results folder"
                )


def file_of(record: RunRecord) -> str:
    """Returns where the record stands below its results folder."""
    return str(record_path(Path(), record.job, record.language))
