"""plan(...) -> list[Planned] (pure); outstanding(...) minus what is stored; execute(one) -> records.

Planning imports no torch. What is impossible is settled here: a named task or model stops the command, under "all" it
becomes an unavailable line. One Planned is one fine-tuning, measured in each of its languages.
"""

from __future__ import annotations

import hashlib
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from unibench import data, models, store
from unibench.adapters import RECIPES
from unibench.cards import TaskCard
from unibench.data import Loaded, Origin
from unibench.errors import Unavailable, UserError
from unibench.models import Encoder
from unibench.store import EVERYTHING, Job, Provenance, RunRecord

PROTOCOLS = ("zero-shot", "monolingual", "multilingual")
PACKAGES = ("torch", "transformers", "tokenizers", "datasets", "numpy", "unibench")
Availability = Callable[[TaskCard, data.Part, str], str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One fine-tuning to do and the languages to measure it in; `missing` are languages out of reach, with reasons."""

    job: Job
    card: TaskCard
    encoder: Encoder
    languages: tuple[str, ...]
    missing: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a job needs from where it runs: data, folder, device ("cpu" or "cuda"), precision, compute threads."""

    results: Path
    origin: Origin
    device: str
    precision: Literal["fp32", "bf16"]
    threads: int


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
) -> list[Planned]:
    """Returns every fine-tuning of encoders × cards × seeds, in that order, and what cannot be had, with reasons.

    `protocol` None is each card's own; `languages` None is all of a card's; no `train_languages` means that zero-shot
    trains on the card's own, or English. A task that trains nothing has one seed, since nothing in it is random. Raises
    UserError for a named task no part of which can be run.
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
    if made.data_stamp != _stamp(item, language, around.origin):
        data_sha256 = _data_sha256(item, language, around.origin)
    return store.stale(
        record,
        job=item.job,
        card_sha256=item.card.sha256,
        data_sha256=data_sha256,
        model_sha256=models.sha256(item.encoder),
    )


def execute(item: Planned, around: Surroundings, progress: Callable[[str, int, int], None]) -> list[RunRecord]:
    """Fine-tunes once, measures in every language and stores one record each; returns them.

    Never raises for what a job can do wrong: that is a "failed" or "unavailable" record with its reason.
    """
    records = [
        RunRecord(job=item.job, language=language, status="unavailable", reason=reason, family=item.card.family)
        for language, reason in item.missing.items()
    ]
    if item.languages:
        try:
            records += _measure(item, around, progress)
        except Unavailable as error:
            records += _unmeasured(item, "unavailable", str(error))
        except UserError:
            raise
        except Exception as error:  # a crashed job must not stop the sweep, and its reason must be seen
            records += _unmeasured(item, "failed", f"{type(error).__name__}: {error}".splitlines()[0])
    for record in records:
        _store(record, around)
    return records


def _store(record: RunRecord, around: Surroundings) -> None:
    # Another process may have done this job meanwhile; what stands says the same.
    with suppress(FileExistsError):
        store.write(around.results, record)


def failed(item: Planned, around: Surroundings, reason: str) -> list[RunRecord]:
    """Stores and returns "failed" records for a job whose process died."""
    records = _unmeasured(item, "failed", reason)
    for record in records:
        _store(record, around)
    return records


def _unmeasured(item: Planned, status: store.Status, reason: str) -> list[RunRecord]:
    return [
        RunRecord(job=item.job, language=language, status=status, reason=reason, family=item.card.family)
        for language in item.languages
    ]


def _measure(item: Planned, around: Surroundings, progress: Callable[[str, int, int], None]) -> list[RunRecord]:
    import torch

    from unibench.finetune import finetune
    from unibench.metrics import METRICS, score

    if around.device == "cpu":
        torch.set_num_threads(around.threads)
    started, began = datetime.now(UTC).isoformat(timespec="seconds"), time.monotonic()
    job, card = item.job, item.card
    train = dev = None
    if job.recipe is not None:
        train = _load(card, "train", job.train_languages, around.origin, job.train_limit)
        dev = _load(card, "dev", job.train_languages, around.origin, None)
    evals: dict[str, Loaded] = {}
    records: list[RunRecord] = []
    for code in item.languages:
        try:
            evals[code] = _load(card, "eval", (code,), around.origin, job.eval_limit)
        except Unavailable as error:  # what only the rows can tell, such as labels that are placeholders
            records += _unmeasured(replace(item, languages=(code,)), "unavailable", str(error))
    if not evals:
        return records
    tuned = finetune(
        lambda: models.load(item.encoder),
        card,
        list(train.examples) if train else [],
        list(dev.examples) if dev else [],
        {code: list(loaded.examples) for code, loaded in evals.items()},
        job.recipe,
        job.seed,
        device=around.device,
        precision=around.precision,
        progress=progress,
    )
    seconds = time.monotonic() - began
    commit, dirty = _commit()
    for code, loaded in evals.items():
        ids = tuple(example.id for example in loaded.examples)
        notes = tuned.notes()
        counts = notes.pop("counts")
        extra = {
            **item.encoder.about,
            **notes,
            "counts": {split: counts[split] for split in ("train", "dev", code) if split in counts},
            "rows": dict(loaded.notes),
            "dataset_commits": {**(train.commits if train else {}), **loaded.commits},
            "threads": around.threads,
        }
        units = tuned.units[code]
        records.append(
            RunRecord(
                job=job,
                language=code,
                status="ok",
                family=card.family,
                metric=card.metric,
                split=card.eval.split,
                parallel=card.parallel,
                scores={
                    name: score(name, units)
                    for name, metric in METRICS.items()
                    if set(metric.unit_names) <= set(tuned.unit_names)
                },
                unit_names=tuned.unit_names,
                units=units,
                example_ids=ids,
                groups=tuple(example.group for example in loaded.examples),
                example_ids_sha256=store.ids_sha256(ids),
                provenance=Provenance(
                    commit=commit,
                    dirty=dirty,
                    packages=_packages(),
                    device=around.device,
                    started=started,
                    seconds=round(seconds, 3),
                    card_sha256=card.sha256,
                    data_sha256=_data_sha256(item, code, around.origin),
                    model_sha256=models.sha256(item.encoder),
                    data_stamp=_stamp(item, code, around.origin),
                    extra=extra,
                ),
            )
        )
    return records


def _data_sha256(item: Planned, language: str, origin: Origin) -> str:
    """One hash of the examples trained on, selected by and scored."""
    job = item.job
    parts = [_load(item.card, "eval", (language,), origin, job.eval_limit)]
    if job.recipe is not None:
        parts.append(_load(item.card, "train", job.train_languages, origin, job.train_limit))
        parts.append(_load(item.card, "dev", job.train_languages, origin, None))
    hashes = [_examples_sha256(part) for part in parts]
    return hashlib.sha256("\n".join(hashes).encode()).hexdigest()


def _stamp(item: Planned, language: str, origin: Origin) -> str:
    stamps = [data.stamp(item.card, ("eval",), (language,), origin)]
    if item.job.recipe is not None:
        stamps.append(data.stamp(item.card, ("train", "dev"), item.job.train_languages, origin))
    return hashlib.sha256("\n".join(stamps).encode()).hexdigest()


_LOADED: dict[tuple[Any, ...], Loaded] = {}
_HASHED: dict[int, str] = {}


def _load(card: TaskCard, part: data.Part, languages: tuple[str, ...], origin: Origin, limit: int | None) -> Loaded:
    """Loads once per process: jobs of one task share their examples."""
    key = (card.name, card.sha256, part, languages, str(origin), limit)
    if key not in _LOADED:
        _LOADED[key] = data.load(card, part, languages, origin, limit=limit)
    return _LOADED[key]


def _examples_sha256(loaded: Loaded) -> str:
    if id(loaded) not in _HASHED:  # what `_load` returned stays alive, so its id stays its own
        _HASHED[id(loaded)] = data.examples_sha256(loaded.examples)
    return _HASHED[id(loaded)]


@lru_cache(maxsize=1)
def _packages() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


@lru_cache(maxsize=1)
def _commit() -> tuple[str, bool]:
    """Returns the commit of the checkout this code runs from and whether it was changed; ("", False) for a wheel."""
    here = Path(__file__).parent

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", "-C", str(here), *arguments], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        if not Path(git("rev-parse", "--show-toplevel")).samefile(here.parent):
            return "", False  # installed inside somebody else's checkout
        return git("rev-parse", "HEAD"), bool(git("status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.CalledProcessError):
        return "", False
