"""plan(...) -> list[Planned] (pure); outstanding(...) = the plan minus what is stored.

Planning imports no torch. What is impossible is settled here: a named task or model stops the command, under "all" it
becomes an unavailable line. One Planned is one fine-tuning, measured in each of its languages.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from unibench import data, jobs, models, store
from unibench.adapters import RECIPES
from unibench.cards import TaskCard
from unibench.errors import UserError
from unibench.jobs import Planned, Surroundings
from unibench.models import Encoder
from unibench.store import EVERYTHING, Job, RunRecord

PROTOCOLS = ("zero-shot", "monolingual", "multilingual")
Availability = Callable[[TaskCard, data.Part, str], str | None]


def plan(
    encoders: Sequence[Encoder],
    cards: Sequence[TaskCard],
    *,
    availability: Availability,
    languages: Sequence[str] | None = None,
    protocol: str | None = None,
    train_languages: Sequence[str] = (),
    seeds: int = 3,
    train_limit: int | None = None,
    eval_limit: int | None = None,
    named_tasks: bool = True,
    origin: Literal["data", "sample"] = "data",
) -> list[Planned]:
    """Returns every fine-tuning of encoders × cards × seeds, in that order, and what cannot be had, with reasons.

    `protocol` None is each card's own; `languages` None is all of a card's; no `train_languages` means that zero-shot
    trains on the card's own, or English. A task that trains nothing has one seed, since nothing in it is random.
    `origin` says where the examples come from: real data sets or the generated sample. Raises UserError for a named
    task no part of which can be run.
    """
    planned: list[Planned] = []
    for card in cards:
        wanted = [code for code in card.languages if languages is None or code in languages]
        if not wanted:
            if named_tasks:
                raise UserError(f"task {card.name!r} has none of the languages {', '.join(languages or ())}")
            continue
        way = protocol or card.protocol
        if not card.train:
            way = "none"
        missing = {code: why for code in wanted if (why := availability(card, "eval", code)) is not None}
        present = [code for code in wanted if code not in missing]
        sources = tuple(train_languages) or (card.train_language or "en",)
        trainings, untrainable = _trainings(card, way, present, sources, availability)
        missing |= untrainable
        if not trainings:
            reason = next(iter(missing.values()), f"{card.name} cannot be trained in {', '.join(sources)}")
            if named_tasks:
                raise UserError(f"task {card.name!r} cannot be run with --protocol {way}: {reason}")
            trainings, missing = [(sources, ())], {EVERYTHING: reason}
        for encoder in encoders:
            for index, (trained_on, measured) in enumerate(trainings):
                for seed in range(seeds if card.train else 1):
                    job = Job(
                        model=encoder.name,
                        task=card.name,
                        protocol=way,
                        train_languages=trained_on,
                        seed=seed,
                        recipe=RECIPES[card.family] if card.train else None,
                        train_limit=train_limit if card.train else None,
                        eval_limit=eval_limit,
                        origin=origin,
                    )
                    first = index == 0 and seed == 0 and not encoder.reason
                    planned.append(
                        Planned(
                            job=job,
                            card=card,
                            encoder=encoder,
                            languages=() if encoder.reason else tuple(measured),
                            missing=missing if first else {EVERYTHING: encoder.reason} if encoder.reason else {},
                        )
                    )
                    if encoder.reason:
                        break
                if encoder.reason:
                    break
    return planned


def _trainings(
    card: TaskCard, way: str, present: Sequence[str], train_languages: Sequence[str], availability: Availability
) -> tuple[list[tuple[tuple[str, ...], tuple[str, ...]]], dict[str, str]]:
    """Returns (training languages, languages measured) of each fine-tuning, and languages that cannot be trained in."""
    if way == "none":
        return ([((), tuple(present))] if present else []), {}
    sources = tuple(train_languages) if way == "zero-shot" else tuple(present)
    reasons = {
        code: why
        for code in sources
        if (why := availability(card, "train", code) or availability(card, "dev", code)) is not None
    }
    usable = tuple(code for code in sources if code not in reasons)
    if way == "monolingual":
        return [((code,), (code,)) for code in usable], reasons
    if way == "multilingual":  # what cannot be trained in is measured all the same
        return ([(usable, tuple(present))], {}) if usable else ([], reasons)
    # Zero-shot from languages some of which are missing would be another experiment: all or nothing.
    if reasons or not present:
        return [], dict.fromkeys(present, next(iter(reasons.values()), "")) if reasons else {}
    return [(usable, tuple(present))], {}


def outstanding(planned: Sequence[Planned], around: Surroundings, *, retry: bool = False) -> list[Planned]:
    """Returns what is not stored yet: languages without an "ok" record, and unavailable ones not yet noted.

    What failed is tried again; what was found unavailable only with `retry`. Raises StaleRecord for a stored record
    that today's command would not make.
    """
    left = []
    for item in planned:
        languages = []
        for language in item.languages:
            path = store.record_path(around.results, item.job, language)
            if not path.exists():
                if retry or not _noted(path):
                    languages.append(language)
                continue
            differences = _differences(item, language, store.read(path, units=False), around)
            if differences:
                raise store.refuse_stale(path, differences)
        missing = {}
        for language, reason in item.missing.items():
            path = store.record_path(around.results, item.job, language)
            if not path.exists() and (retry or not _noted(path)):
                missing[language] = reason
        if languages or missing:
            left.append(replace(item, languages=tuple(languages), missing=missing))
    return left


def _noted(path: Path) -> bool:
    """Whether the latest attempt at a record found it unavailable."""
    last = store.last_attempt(path)
    return last is not None and store.read(last, units=False).status == "unavailable"


def _differences(item: Planned, language: str, record: RunRecord, around: Surroundings) -> list[str]:
    made = record.provenance
    assert made is not None, "an ok record has its provenance"
    data_sha256 = made.data_sha256
    # The same files need not be read again; others may still hold the same examples (a copied mirror).
    if made.data_stamp != jobs.data_stamp(item, language, around.origin):
        data_sha256 = jobs.data_sha256(item, language, around.origin)
    return store.stale(
        record,
        job=item.job,
        card_sha256=item.card.sha256,
        data_sha256=data_sha256,
        model_sha256=models.sha256(item.encoder),
    )
