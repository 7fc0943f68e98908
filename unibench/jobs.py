"""One job: what it is, what it needs, and execute(one) -> records. torch is imported only when a job is measured."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from unibench import data, models, provenance, store
from unibench.cards import TaskCard
from unibench.data import Loaded, Origin
from unibench.errors import Unavailable, UserError
from unibench.models import Encoder
from unibench.store import Job, Provenance, RunRecord

if TYPE_CHECKING:
    from unibench.finetune import Finetuned

Progress = Callable[[str, int, int], None]


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


def execute(item: Planned, around: Surroundings, progress: Progress) -> list[RunRecord]:
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


def _measure(item: Planned, around: Surroundings, progress: Progress) -> list[RunRecord]:
    import torch

    from unibench.finetune import finetune

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
    notes = tuned.notes()
    counts = notes.pop("counts")
    commit, dirty = provenance.commit()
    for code, loaded in evals.items():
        extra = {
            **item.encoder.about,
            **notes,
            "counts": {split: counts[split] for split in ("train", "dev", code) if split in counts},
            "rows": dict(loaded.notes),
            "dataset_commits": {**(train.commits if train else {}), **loaded.commits},
            "threads": around.threads,
        }
        made = Provenance(
            commit=commit,
            dirty=dirty,
            packages=provenance.packages(),
            device=around.device,
            started=started,
            seconds=round(time.monotonic() - began, 3),
            card_sha256=card.sha256,
            data_sha256=data_sha256(item, code, around.origin),
            model_sha256=models.sha256(item.encoder),
            data_stamp=data_stamp(item, code, around.origin),
            extra=extra,
        )
        records.append(_record(item, code, loaded, tuned, made))
    return records


def _record(item: Planned, language: str, loaded: Loaded, tuned: Finetuned, made: Provenance) -> RunRecord:
    from unibench.metrics import METRICS, score

    units, names = tuned.units[language], tuned.unit_names
    ids = tuple(example.id for example in loaded.examples)
    return RunRecord(
        job=item.job,
        language=language,
        status="ok",
        family=item.card.family,
        metric=item.card.metric,
        split=item.card.eval.split,
        parallel=loaded.parallel,
        scores={name: score(name, units) for name, metric in METRICS.items() if set(metric.unit_names) <= set(names)},
        unit_names=names,
        units=units,
        example_ids=ids,
        groups=tuple(example.group for example in loaded.examples),
        example_ids_sha256=store.ids_sha256(ids),
        provenance=made,
    )


def data_sha256(item: Planned, language: str, origin: Origin) -> str:
    """Returns one hash of the examples trained on, selected by and scored in `language`."""
    job = item.job
    parts = [_load(item.card, "eval", (language,), origin, job.eval_limit)]
    if job.recipe is not None:
        parts.append(_load(item.card, "train", job.train_languages, origin, job.train_limit))
        parts.append(_load(item.card, "dev", job.train_languages, origin, None))
    hashes = [_examples_sha256(part) for part in parts]
    return hashlib.sha256("\n".join(hashes).encode()).hexdigest()


def data_stamp(item: Planned, language: str, origin: Origin) -> str:
    """Returns a fingerprint of the files those examples come from, without reading them."""
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
