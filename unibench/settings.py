"""Which records may share a table: those of one setting, made from the same card, data and model."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from unibench.errors import StaleRecord
from unibench.store import Job, Recipe, RunRecord, record_path

MOST_NAMED = 15  # languages of an adversary that a title names one by one


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What must not meet in a table, in words; "" is what needs none (real data, no adversary, one way of training)."""

    protocol: str
    data: str = ""
    adversary: str = ""
    limits: tuple[str, ...] = ()
    way: str = ""

    @property
    def title(self) -> str:
        return ", ".join(word for word in (self.data, self.protocol, self.adversary, *self.limits, self.way) if word)


def by_setting(records: Iterable[RunRecord]) -> dict[str, list[RunRecord]]:
    """Returns records parted by what must not meet in a table, keyed by words for a title, in sorted order.

    A task that trains nothing is the same experiment under every protocol, so it joins all that score like it.
    """
    records = list(records)
    untrained = [record for record in records if record.job.protocol == "none"]
    out = {setting.title: group for setting, group in parted(r for r in records if r.job.protocol != "none").items()}
    trained = [(_scored(group[0]), group) for group in out.values()]
    for record in untrained:
        hosts = [group for scored, group in trained if scored == _scored(record)]
        for group in hosts or [out.setdefault(of_record(record).title, [])]:
            group.append(record)
    return dict(sorted(out.items()))


def parted(records: Iterable[RunRecord]) -> dict[Setting, list[RunRecord]]:
    """Returns records by their setting, in sorted order of titles.

    Recipes differ between families, "multilingual" trains every task on its own languages and an adversary may read
    those of each task: there a setting is parted only where one and the same task was run in two ways.
    """
    records = list(records)
    ways: dict[tuple[Setting, str], set[str]] = {}
    adversaries: dict[Setting, dict[tuple[str, ...], set[tuple[str, ...]]]] = {}
    for record in records:
        job, setting = record.job, of_record(record)
        if record.status == "ok":
            ways.setdefault((setting, job.task), set()).add(_way(record))
            # each language of a monolingual task is a fine-tuning of its own, and may have an adversary of its own
            place = (job.task, *(job.train_languages if job.protocol == "monolingual" else ()))
            adversaries.setdefault(setting, {}).setdefault(place, set()).add(job.adversarial)
    out: dict[Setting, list[RunRecord]] = {}
    for record in records:
        setting = of_record(record)
        way, several = _way(record), ways.get((setting, record.job.task), set())
        full = replace(
            setting,
            adversary=_adversary(record.job, adversaries.get(setting, {})),
            way=way if len(several) > 1 and way in several else "",
        )
        out.setdefault(full, []).append(record)
    return dict(sorted(out.items(), key=lambda item: item[0].title))


def of_record(record: RunRecord) -> Setting:
    """Returns the setting of one record by itself: an adversary's languages and the recipe are left open."""
    job = record.job
    protocol = job.protocol
    # what could not be had in a language has no fine-tuning of its own to name
    if job.protocol == "none":
        protocol = "nothing trained"
    elif job.protocol == "monolingual" and (record.status != "ok" or job.train_languages == (record.language,)):
        pass
    elif job.protocol != "multilingual" and job.train_languages:
        protocol = f"{job.protocol} from {'+'.join(job.train_languages)}"
    limits = []
    if job.train_limit is not None:
        limits.append(f"at most {job.train_limit} training examples")
    if job.eval_limit is not None:
        limits.append(f"at most {job.eval_limit} test examples")
    return Setting(
        protocol=protocol,
        data="" if job.origin == "data" else f"{job.origin} data",
        adversary="with a language adversary" if job.adversarial else "",
        limits=tuple(limits),
    )


def _scored(record: RunRecord) -> tuple[str, int | None]:
    return record.job.origin, record.job.eval_limit


def _adversary(job: Job, by_task: dict[tuple[str, ...], set[tuple[str, ...]]]) -> str:
    """Returns the words for a job's adversary, given the language sets that each task of its setting was run with."""
    if not job.adversarial:
        return ""
    everywhere = {languages for sets in by_task.values() for languages in sets} or {job.adversarial}
    rivals = {languages for sets in by_task.values() if len(sets) > 1 for languages in sets}
    if job.adversarial in rivals:
        return f"with a language adversary over {_languages(job.adversarial)}"
    if len(everywhere) == 1:  # what failed stands beside it, whatever set it was planned with
        return f"with a language adversary over {_languages(next(iter(everywhere)))}"
    return "with a language adversary over each task's languages"


def _languages(codes: tuple[str, ...]) -> str:
    words = "+".join(codes)
    if len(codes) <= MOST_NAMED:
        return words
    return f"{len(codes)} languages ({hashlib.sha256(words.encode()).hexdigest()[:6]})"


def _way(record: RunRecord) -> str:
    recipe: Recipe | None = record.job.recipe
    trained = f"trained on {'+'.join(record.job.train_languages)}, " if record.job.protocol == "multilingual" else ""
    return trained + recipe_words(recipe)


def recipe_words(recipe: Recipe | None) -> str:
    """Returns a recipe as a reader of a table needs it."""
    if recipe is None:
        return "no recipe"
    rates = "/".join(f"{rate:g}" for rate in recipe.learning_rates)
    return (
        f"{recipe.epochs:g} epochs, batch {recipe.batch_size}, {recipe.max_tokens} tokens, learning rates "
        f"{rates}, patience {recipe.patience}, warm-up {recipe.warmup_frac:g}, decay {recipe.weight_decay:g}"
    )


def refuse_mixtures(records: Iterable[RunRecord], *, data: bool = True) -> None:
    """Raises StaleRecord, naming both records and what differs, when two may not share a table.

    `data` False lets the data differ, which by nature holds what was trained on, so two protocols never share it; the
    rows that are scored must be the same all the same.
    """
    first: dict[tuple[str, ...], tuple[str, RunRecord]] = {}
    for record in records:
        made, task, language = record.provenance, record.job.task, record.language
        for what, key, value in (
            ("card", (task,), made.card_sha256 if made else ""),
            ("data", (task, language), made.data_sha256 if made else ""),
            ("example ids", (task, language), record.example_ids_sha256),
            ("model", (record.job.model,), made.model_sha256 if made else ""),
        ):
            if what == "data" and not data:
                continue
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
