"""plan(...) -> list[Planned] (pure); outstanding(...) = the plan minus what is stored.

Planning imports no torch. What is impossible is settled here: a named task or model stops the command, under "all" it
becomes an unavailable line. One Planned is one fine-tuning, measured in each of its languages.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal

from unibench import adapters, data, models, staleness, store
from unibench.cards import Source, TaskCard
from unibench.errors import UserError
from unibench.jobs import Planned, Surroundings
from unibench.models import Encoder
from unibench.store import EVERYTHING, Job, Recipe, RunRecord
from unibench.supplies import Supplies

PROTOCOLS = ("zero-shot", "monolingual", "multilingual")
Availability = Callable[[TaskCard, data.Part, str], str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Training:
    """One fine-tuning of any encoder: languages trained on, measured, confused; `without_text` says why of the rest."""

    trained_on: tuple[str, ...]
    measured: tuple[str, ...]
    adversarial: tuple[str, ...] = ()
    without_text: Mapping[str, str] = field(default_factory=dict)


def plan(
    encoders: Sequence[Encoder],
    cards: Sequence[TaskCard],
    *,
    availability: Availability,
    languages: Sequence[str] | None = None,
    protocol: str | None = None,
    train_languages: Sequence[str] = (),
    adversarial: bool = False,
    oracle: bool = True,
    seeds: int = 3,
    train_limit: int | None = None,
    eval_limit: int | None = None,
    named_tasks: bool = True,
    origin: Literal["data", "sample"] = "data",
) -> list[Planned]:
    """Returns every fine-tuning of encoders × cards × seeds, in that order, and what cannot be had, with reasons.

    `protocol` None is each card's own; `languages` None is all of a card's; no `train_languages` means that zero-shot
    trains on the card's own, or English. A task that trains nothing has one seed, since nothing in it is random, and
    no adversary. `adversarial`: a discriminator over the languages trained on and those measured of which there is
    text. `oracle`: measured languages that have a dev split and are not trained on are to be told what it would have
    chosen. `origin` says where the examples come from: real data sets or the generated sample. Raises UserError for a
    named task no part of which can be run.
    """
    planned: list[Planned] = []
    for card in cards:
        wanted = [code for code in card.languages if languages is None or code in languages]
        if not wanted:
            if named_tasks:
                raise UserError(f"task {card.name!r} has none of the languages {', '.join(languages or ())}")
            continue
        why = _asked_once(card, availability)
        way = (protocol or card.protocol) if card.train else "none"
        recipe = adapters.recipe(card.family) if card.train else None
        missing = {code: reason for code in wanted if (reason := why("eval", code)) is not None}
        present = [code for code in wanted if code not in missing]
        sources = tuple(train_languages) or (card.train_language or "en",)
        trainings, untrainable = _trainings(way, present, sources, why)
        missing |= untrainable
        request = f"--protocol {way}"
        if adversarial and card.train and trainings:
            request = "--adversarial"
            trainings, alone = _with_adversary(card, trainings, present, why)
            missing |= alone
        if not trainings:
            reason = next(iter(missing.values()), f"{card.name} cannot be trained in {', '.join(sources)}")
            if named_tasks:
                raise UserError(f"task {card.name!r} cannot be run with {request}: {reason}")
            confused = sources if adversarial and card.train else ()
            trainings = [_Training(trained_on=sources, measured=(), adversarial=confused)]
            missing = {EVERYTHING: reason}
        for encoder in encoders:
            for index, training in enumerate(trainings):
                for seed in range(seeds if card.train else 1):
                    job = Job(
                        model=encoder.name,
                        task=card.name,
                        protocol=way,
                        train_languages=training.trained_on,
                        seed=seed,
                        recipe=recipe,
                        train_limit=train_limit if card.train else None,
                        eval_limit=eval_limit,
                        origin=origin,
                        adversarial=training.adversarial,
                        adversary_strength=adapters.ADVERSARY_STRENGTH if training.adversarial else 0.0,
                        max_tokens=None if recipe else adapters.recipe(card.family).max_tokens,
                    )
                    first = index == 0 and seed == 0 and not encoder.reason
                    planned.append(
                        Planned(
                            job=job,
                            card=card,
                            encoder=encoder,
                            languages=() if encoder.reason else training.measured,
                            missing=missing if first else {EVERYTHING: encoder.reason} if encoder.reason else {},
                            without_text=training.without_text,
                            oracle=_oracle(card, recipe, training, why) if oracle else (),
                        )
                    )
                    if encoder.reason:
                        break
                if encoder.reason:
                    break
    return planned


_Why = Callable[[data.Part, str], str | None]


def _asked_once(card: TaskCard, availability: Availability) -> _Why:
    """Returns availability for this card; every answer is looked up once, since a look may list a folder."""
    answers: dict[tuple[data.Part, str], str | None] = {}

    def why(part: data.Part, code: str) -> str | None:
        if (part, code) not in answers:
            answers[part, code] = availability(card, part, code)
        return answers[part, code]

    return why


def _trainings(
    way: str, present: Sequence[str], train_languages: Sequence[str], why: _Why
) -> tuple[list[_Training], dict[str, str]]:
    """Returns the fine-tunings, and languages that cannot be trained in with the reasons."""
    everywhere = tuple(present)
    if way == "none":
        return ([_Training(trained_on=(), measured=everywhere)] if present else []), {}
    sources = tuple(train_languages) if way == "zero-shot" else everywhere
    reasons = {code: reason for code in sources if (reason := why("train", code) or why("dev", code)) is not None}
    usable = tuple(code for code in sources if code not in reasons)
    if way == "monolingual":
        return [_Training(trained_on=(code,), measured=(code,)) for code in usable], reasons
    if way == "multilingual":  # what cannot be trained in is measured all the same
        return ([_Training(trained_on=usable, measured=everywhere)], {}) if usable else ([], reasons)
    # Zero-shot from languages some of which are missing would be another experiment: all or nothing.
    if reasons or not present:
        return [], dict.fromkeys(present, next(iter(reasons.values()), "")) if reasons else {}
    return [_Training(trained_on=usable, measured=everywhere)], {}


def _with_adversary(
    card: TaskCard, trainings: Sequence[_Training], present: Sequence[str], why: _Why
) -> tuple[list[_Training], dict[str, str]]:
    """Returns the fine-tunings that can have a discriminator, and reasons for languages of those that cannot.

    It tells the languages trained on from all others asked for of which there is text that is not scored; so a
    monolingual fine-tuning gets one as well, against the text of the other languages.
    """
    able: list[_Training] = []
    alone: dict[str, str] = {}
    for training in trainings:
        others = [code for code in present if code not in training.trained_on]
        without = {code: reason for code in others if (reason := _no_text(card, code, why)) is not None}
        confused = (*training.trained_on, *(code for code in others if code not in without))
        if len(confused) > 1:
            able.append(replace(training, adversarial=confused, without_text=without))
            continue
        reason = next(iter(without.values()), "no other language was asked for")
        only = f"a discriminator needs text in two languages, and there is only {confused[0]}: {reason}"
        alone |= dict.fromkeys(training.measured, only)
    return able, alone


def _no_text(card: TaskCard, code: str, why: _Why) -> str | None:
    """Returns None where `code` has a train or a dev split to read without its labels, else why it has none."""
    reasons = [_not_scored(card, part, code, why) for part in ("train", "dev")]
    return None if None in reasons else reasons[0]


def _oracle(card: TaskCard, recipe: Recipe | None, training: _Training, why: _Why) -> tuple[str, ...]:
    if recipe is None or len(recipe.learning_rates) < 2:  # nothing was chosen, so nothing could be chosen better
        return ()
    foreign = [code for code in training.measured if code not in training.trained_on]
    return tuple(code for code in foreign if _not_scored(card, "dev", code, why) is None)


def _not_scored(card: TaskCard, part: Literal["train", "dev"], code: str, why: _Why) -> str | None:
    """Returns None where the part can be had in `code` and shares no file with what is scored, else why not."""
    sources = card.train if part == "train" or not card.dev else card.dev
    if any(source.language in (None, code) and _place(source, code) == _place(card.eval, code) for source in sources):
        return f"{card.name} has no {part} data for {code} but what is scored"
    return why(part, code)


def _place(source: Source, code: str) -> tuple[str, ...]:
    """Returns what tells one split from another; a source's language may have another name in its configs."""
    name = source.aliases.get(code, code)
    return (source.hub, source.split, *(words.replace("{lang}", name) for words in (source.config, source.files)))


def shard(planned: Sequence[Planned], spec: str) -> list[Planned]:
    """Returns the K-th of N shares of a plan for a `spec` "K/N".

    A fine-tuning's share follows from what it is, not from its place: machines that see different models or tasks still
    leave none out and do none twice. Raises UserError for another spec.
    """
    found = re.fullmatch(r"([0-9]+)/([0-9]+)", spec)
    number, count = (int(found[1]), int(found[2])) if found else (0, 0)
    if not 1 <= number <= count:
        raise UserError(f"--shard {spec!r}: expected K/N with K from 1 to N, such as 2/8 for the second of eight")

    def share(job: Job) -> int:  # seeds follow one another, so that the shares are nearly equal
        words = json.dumps({**asdict(job), "seed": 0}, sort_keys=True)
        return (int(hashlib.sha256(words.encode()).hexdigest(), 16) + job.seed) % count

    return [item for item in planned if share(item.job) == number - 1]


def outstanding(planned: Sequence[Planned], around: Surroundings, *, retry: bool = False) -> list[Planned]:
    """Returns what is not stored yet: languages without an "ok" record, and unavailable ones not yet noted.

    What failed is tried again; what was found unavailable only with `retry`. Raises StaleRecord for all stored records
    that today's command would not make.
    """
    left = []
    stale: dict[Path, list[str]] = {}
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
                stale[path] = differences
        missing = {}
        for language, reason in item.missing.items():
            path = store.record_path(around.results, item.job, language)
            if not path.exists() and (retry or not _noted(path)):
                missing[language] = reason
        if languages or missing:
            left.append(replace(item, languages=tuple(languages), missing=missing))
    if stale:
        raise staleness.refuse_all_stale(stale)
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
    supplies = Supplies(job=item.job, card=item.card, origin=around.origin)
    if made.data_stamp != supplies.stamp(language):
        data_sha256 = supplies.sha256(language)
    return staleness.stale(
        record,
        job=item.job,
        card_sha256=item.card.sha256,
        data_sha256=data_sha256,
        model_sha256=models.sha256(item.encoder),
    )
