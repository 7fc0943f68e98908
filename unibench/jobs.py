"""One job: what it is, what it needs, and execute(one) -> records. torch is imported only when a job is measured."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from unibench import data, models, predictions, provenance, store
from unibench.cards import TaskCard
from unibench.data import Loaded, Origin
from unibench.errors import Unavailable, UserError
from unibench.models import Encoder
from unibench.store import Job, Provenance, RunRecord
from unibench.supplies import Supplies

if TYPE_CHECKING:
    from unibench.finetune import Finetuned

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One fine-tuning to do and the languages to measure it in; `missing` are languages out of reach, with reasons.

    `without_text` are languages the adversary does without, with reasons. `oracle` are those whose own dev split shall
    say what it would have chosen.
    """

    job: Job
    card: TaskCard
    encoder: Encoder
    languages: tuple[str, ...]
    missing: Mapping[str, str] = field(default_factory=dict)
    without_text: Mapping[str, str] = field(default_factory=dict)
    oracle: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a job needs from where it runs: data, folder, device ("cpu" or "cuda"), precision, compute threads.

    `predictions` keeps what is predicted for each example beside the record.
    """

    results: Path
    origin: Origin
    device: str
    precision: Literal["fp32", "bf16"]
    threads: int
    predictions: bool = False


_Result = tuple[RunRecord, bytes | None]  # a record and its predictions


def execute(item: Planned, around: Surroundings, progress: Progress) -> list[RunRecord]:
    """Fine-tunes once, measures in every language and stores one record each; returns them.

    Never raises for what a job can do wrong: that is a "failed" or "unavailable" record with its reason.
    """
    results: list[_Result] = [
        (RunRecord(job=item.job, language=language, status="unavailable", reason=reason, family=item.card.family), None)
        for language, reason in item.missing.items()
    ]
    if item.languages:
        try:
            results += _measure(item, around, progress)
        except Unavailable as error:
            results += _unmeasured(item, "unavailable", str(error))
        except UserError:
            raise
        except Exception as error:  # a crashed job must not stop the sweep, and its reason must be seen
            results += _unmeasured(item, "failed", f"{type(error).__name__}: {error}".splitlines()[0])
    return _store(results, around)


def _store(results: list[_Result], around: Surroundings) -> list[RunRecord]:
    for record, predicted in results:
        # Another process may have done this job meanwhile; what stands says the same.
        with suppress(FileExistsError):
            store.write(around.results, record, predicted)
    return [record for record, _ in results]


def failed(item: Planned, around: Surroundings, reason: str) -> list[RunRecord]:
    """Stores and returns "failed" records for a job whose process died."""
    return _store(_unmeasured(item, "failed", reason), around)


def _unmeasured(item: Planned, status: store.Status, reason: str) -> list[_Result]:
    return [
        (RunRecord(job=item.job, language=language, status=status, reason=reason, family=item.card.family), None)
        for language in item.languages
    ]


def _measure(item: Planned, around: Surroundings, progress: Progress) -> list[_Result]:
    import torch

    from unibench.finetune import finetune

    if around.device == "cpu":
        torch.set_num_threads(around.threads)
    started, began = datetime.now(UTC).isoformat(timespec="seconds"), time.monotonic()
    job, card = item.job, item.card
    supplies = Supplies(job=job, card=card, origin=around.origin)
    train, dev = (supplies.train(), supplies.dev()) if job.recipe is not None else (None, None)
    evals: dict[str, Loaded] = {}
    results: list[_Result] = []
    for code in item.languages:
        try:
            evals[code] = supplies.scored(code)
        except Unavailable as error:  # what only the rows can tell, such as labels that are placeholders
            results += _unmeasured(replace(item, languages=(code,)), "unavailable", str(error))
    if not evals:
        return results
    asked = [code for code in item.oracle if code in evals]
    own_devs = {code: loaded for code in asked if (loaded := supplies.own_dev(code)) is not None}
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
        target_devs={code: loaded.examples for code, loaded in own_devs.items()},
        adversary_strength=job.adversary_strength,
        unlabelled={code: texts.examples for code, texts in supplies.texts().items()},
        language_of=lambda example: data.language_of(example.id),
        cache=around.results / "cache" / "rows",
        keep_outputs=around.predictions,
    )
    assert bool(tuned.adversary) == bool(job.adversarial), "a record says whether an adversary was at work"
    notes = tuned.notes()
    counts = notes.pop("counts")
    commit, dirty = provenance.commit()
    commits = {
        hub: found
        for part in (train, dev, *own_devs.values(), *supplies.texts().values())
        for hub, found in (part.commits.items() if part else ())
    }
    for code, loaded in evals.items():
        extra = {
            **models.fetch(item.encoder).about,
            **notes,
            "counts": {split: counts[split] for split in ("train", "dev", f"dev {code}", code) if split in counts},
            "rows": dict(loaded.notes),
            "train_rows": dict(train.notes) if train else {},
            "dev_rows": dict(dev.notes) if dev else {},
            "dataset_commits": {**commits, **loaded.commits},
            "threads": around.threads,
        }
        if card.about.get("translations"):
            extra["translations"] = card.about["translations"]
        if job.adversarial:
            extra["without_text"] = dict(item.without_text)
        made = Provenance(
            commit=commit,
            dirty=dirty,
            packages=provenance.packages(),
            device=around.device,
            started=started,
            seconds=round(time.monotonic() - began, 3),
            card_sha256=card.sha256,
            data_sha256=supplies.sha256(code),
            model_sha256=models.sha256(item.encoder),
            data_stamp=supplies.stamp(code),
            extra=extra,
        )
        record = _record(item, code, loaded, tuned, made)
        if found := tuned.oracle.get(code):
            source = f"{len(own_devs[code].examples)} {code} examples: {supplies.own_dev_source(code)}"
            record = replace(record, oracle={**asdict(found), "source": source})
        predicted = None
        if around.predictions:
            predicted = predictions.encode(loaded.examples, tuned.outputs[code], tuned.unit_names, tuned.units[code])
        results.append((record, predicted))
    return results


def _record(item: Planned, language: str, loaded: Loaded, tuned: Finetuned, made: Provenance) -> RunRecord:
    from unibench import chance, metrics

    units, names = tuned.units[language], tuned.unit_names
    ids = tuple(example.id for example in loaded.examples)
    groups = tuple(example.group for example in loaded.examples)
    warning = chance.warning(item.card.metric, units, unit_names=names, groups=groups)
    if warning:
        made = replace(made, extra={**made.extra, "warning": warning})
    return RunRecord(
        job=item.job,
        language=language,
        status="ok",
        family=item.card.family,
        metric=item.card.metric,
        split=item.card.eval.split,
        parallel=loaded.parallel,
        scores=metrics.scores(names, units),
        unit_names=names,
        units=units,
        example_ids=ids,
        groups=groups,
        example_ids_sha256=store.ids_sha256(ids),
        provenance=made,
    )
