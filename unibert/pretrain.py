"""corpus -> tokenizer -> shards -> teacher -> fit -> probe -> export, in one resumable call.

Under a results folder: `tokenizers/`, `shards/` (both named by hashes and shared by every size), `training/NAME/` (a
run's state) and `models/NAME/` (its export, which appears whole or not at all).
"""

from __future__ import annotations

import json
import platform
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from unibert import checkpoint, evaluate, foreign, probe, shards, tokenizer
from unibert.card import card
from unibert.config import PRESETS, Distill, TrainConfig, to_plain
from unibert.corpus import Corpus
from unibert.errors import UserError
from unibert.export import export
from unibert.journal import METRICS
from unibert.manifest import SCHEMA, exported, read_manifest, versions, write_text
from unibert.model import parameter_counts
from unibert.processes import Processes
from unibert.request import Request
from unibert.teacher import check
from unibert.train import Notify, fit, silent
from unibert.trainer import Trainer

SIZES = tuple(PRESETS)  # from large to small
# Below this a larger model has learned less than its student would: at five minutes one cost half of the budget and
# stood at 8.36 nats, the student's own sibling at 6.55.
TEACHING_BUDGET_S = 3600.0
PACKAGES = ("torch", "transformers", "tokenizers", "numpy")


def pretrain(request: Request, *, device: str, notify: Notify, processes: Processes | None = None) -> Path:
    """Trains, or resumes, or returns at once what is already trained; returns the exported model's folder.

    Where several processes were started, all of them call this, and the first writes.
    """
    if processes is None:
        processes = Processes(device)
        try:
            return pretrain(request, device=device, notify=notify, processes=processes)
        finally:
            processes.close()
    device = processes.device
    notify = notify if processes.first else silent
    done = read_manifest(request.out)
    if done is not None:
        _refuse_other(request, done)
        notify({"event": "note", "text": f"{request.out} is already trained; nothing to do"})
        return request.out
    if request.out.exists():
        raise UserError(f"{request.out} exists and was not written by unibench train; choose another --name")
    with processes.first_then_others():
        vocabulary = prepare_tokenizer(request, notify)
        folder = prepare_shards(request.corpus, vocabulary, request.results, notify)
        request.work.mkdir(parents=True, exist_ok=True)
    config, teacher = _with_teacher(request, vocabulary, folder, notify, processes)
    trainer = fit(
        config,
        shard_folder=folder,
        tokenizer_folder=vocabulary,
        work=request.work,
        device=device,
        notify=notify,
        processes=processes,
        tensorboard=request.tensorboard,
    )
    trainer.model.forget_languages(torch.from_numpy(trainer.batches.shares_L))
    with processes.first_then_others():
        if processes.first:
            _finish(request, trainer, folder, vocabulary, teacher, notify)
    return request.out


def _finish(
    request: Request,
    trainer: Trainer,
    folder: Path,
    vocabulary: Path,
    teacher: dict[str, Any] | None,
    notify: Notify,
) -> None:
    notify({"event": "note", "text": "measuring the trained encoder on held-out text"})
    manifest = _manifest(request, trainer, folder, vocabulary, teacher)
    export(trainer.model, vocabulary, request.out, manifest, card, curve=request.work / METRICS)
    (request.work / checkpoint.STATE).unlink(missing_ok=True)


def prepare_tokenizer(request: Request, notify: Notify) -> Path:
    """Returns the folder of the run's vocabulary, training it on first use: one per corpus, languages and size."""
    if request.tokenizer != "auto":
        named = request.results / "models" / request.tokenizer
        folder = named if named.is_dir() else Path(request.tokenizer)
        tokenizer.load(folder)
        return folder
    folder = request.results / "tokenizers" / f"{request.corpus.identity[:12]}-{request.vocab_size}"
    if not (folder / "tokenizer.json").is_file():
        notify({"event": "note", "text": f"training a vocabulary of {request.vocab_size:,} pieces (once per corpus)"})
        trained = tokenizer.train(request.corpus, request.vocab_size, alpha=request.config.sampling_alpha)
        tokenizer.save(trained, folder, positions=request.config.model.positions)
    return folder


def prepare_shards(corpus: Corpus, vocabulary: Path, results: Path, notify: Notify) -> Path:
    """Returns the folder of the corpus's token shards under this vocabulary, writing it on first use."""
    folder = results / "shards" / f"{corpus.identity[:12]}-{tokenizer.fingerprint(vocabulary)[:12]}"
    if not (folder / "manifest.json").is_file():
        notify({"event": "note", "text": f"tokenising {len(corpus.languages)} languages (once per vocabulary)"})
    return shards.build(corpus, tokenizer.load(vocabulary), folder)


def _with_teacher(
    request: Request, vocabulary: Path, folder: Path, notify: Notify, processes: Processes
) -> tuple[TrainConfig, dict[str, Any] | None]:
    """Returns the config with its teacher and budget settled, and what to say of the teacher.

    Decided once per run and stored: a resumed run has the teacher it began with.
    """
    if not request.distill:
        return request.config, None
    path = request.work / "teacher.json"
    if path.exists():
        stored = json.loads(path.read_text())
        asked, chosen = stored["asked"], stored["chosen"]
        if asked != request.teacher:
            raise UserError(f"{request.work} was begun with --teacher {asked}; give the same, or another --name")
    else:
        chosen = _choose_teacher(request, vocabulary, folder, notify, processes)
        if processes.first:
            write_text(path, json.dumps({"asked": request.teacher, "chosen": chosen}, indent=1) + "\n")
    notify({"event": "note", "text": chosen["why"]})
    config = request.config
    if chosen["halved"]:
        config = _half(config)
    if chosen["folder"] is not None:
        settings = request.distill_settings or Distill(teacher="")
        config = replace(config, distill=replace(settings, teacher=chosen["folder"]))
    return config, chosen


def _choose_teacher(
    request: Request, vocabulary: Path, folder: Path, notify: Notify, processes: Processes
) -> dict[str, Any]:
    if request.teacher == "none":
        return {"folder": None, "halved": False, "why": "no teacher, as asked: trained without distillation"}
    if request.teacher != "auto":
        path = foreign.resolve(request.teacher, request.results)
        settings = request.distill_settings or Distill(teacher="")
        check(replace(settings, teacher=str(path)), request.config.model, vocabulary)
        revision = foreign.revision(path)
        why = f"teacher {request.teacher}, as asked" + (f" (revision {revision})" if revision else "")
        return {"folder": str(path), "halved": False, "why": why}
    larger = SIZES[: SIZES.index(request.size)]
    name = f"teacher-{larger[-1]}-{request.name}" if larger else ""
    known = _best_teacher(request, folder)
    if known and known != name:  # its own, found again after an interruption, has used up half of the budget
        return {"folder": str(request.results / "models" / known), "halved": False, "why": f"teacher {known}, found"}
    if not larger:
        return {"folder": None, "halved": False, "why": f"no size above {request.size} to teach it: no distillation"}
    budget_s = request.config.budget_s
    if budget_s is not None and budget_s < TEACHING_BUDGET_S:
        why = f"no teacher found, and {budget_s:g} s are too few to train one first: trained without distillation"
        return {"folder": None, "halved": False, "why": why}
    notify({"event": "note", "text": f"no teacher found: training {name} within half of the budget"})
    teaching = replace(
        request,
        name=name,
        size=larger[-1],
        config=replace(_half(request.config), model=PRESETS[larger[-1]], adversary=None, distill=None, peak_lr=None),
        distill=False,
        tokenizer=str(vocabulary),
        is_teacher=True,
    )
    pretrain(teaching, device=processes.device, notify=notify, processes=processes)
    manifest = read_manifest(teaching.out)
    assert manifest is not None
    if not _has_learned(manifest):
        loss, chance = manifest["heldout"]["mlm"]["mean"], manifest["heldout"]["unigram"]
        why = f"{name} reached {loss:.2f} nats, unigram frequencies {chance:.2f}: trained without distillation"
        return {"folder": None, "halved": True, "why": why}
    return {"folder": str(teaching.out), "halved": True, "why": f"teacher {name}, trained within half of the budget"}


def _best_teacher(request: Request, folder: Path) -> str | None:
    """Returns the model of these shards with the lowest held-out loss among those that can teach, None without one.

    It is of the student's size or above and was not itself taught. Its equal may teach it: soft targets of a model
    trained before make the same steps go further.
    """
    sizes = SIZES[: SIZES.index(request.size) + 1]
    found = [
        (manifest["heldout"]["mlm"]["mean"], name)
        for name, manifest in exported(request.results)
        if manifest["shards"] == folder.name
        and manifest["size"] in sizes
        and "distill" not in manifest["objectives"].split("+")
        and _has_learned(manifest)
    ]
    return min(found)[1] if found else None


def _has_learned(manifest: dict[str, Any]) -> bool:
    """Whether a model beats what its student would know after a few steps: piece frequencies."""
    return bool(manifest["heldout"]["mlm"]["mean"] < manifest["heldout"]["unigram"])


def _half(config: TrainConfig) -> TrainConfig:
    if config.budget_s is not None:
        return replace(config, budget_s=config.budget_s / 2)
    assert config.steps is not None
    return replace(config, steps=max(1, config.steps // 2))


def _refuse_other(request: Request, manifest: dict[str, Any]) -> None:
    """A finished model of this name must be the one asked for."""
    ours, theirs = _asked(request), manifest["asked"]
    changed = sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name))
    if changed:
        raise UserError(
            f"{request.out} was trained with another {', '.join(changed)}; choose another --name or remove that folder"
        )


def _asked(request: Request) -> dict[str, Any]:
    """Returns what decides the model, as JSON-ready values: what a second run under its name must agree with."""
    asked = {
        **to_plain(request.config),
        "size": request.size,
        "corpus": request.corpus.identity,
        "objectives": "+".join(request.config.objectives + (("distill",) if request.distill else ())),
        "distill": to_plain(request.distill_settings) if request.distill_settings else None,
        "teacher": request.teacher if request.distill else None,
        "tokenizer": request.tokenizer,
        "vocab_size": request.vocab_size if request.tokenizer == "auto" else None,
    }
    plain: dict[str, Any] = json.loads(json.dumps(asked))
    return plain


def _manifest(
    request: Request, trainer: Trainer, folder: Path, vocabulary: Path, teacher: dict[str, Any] | None
) -> dict[str, Any]:
    config = trainer.config
    heldout = evaluate.load_heldout(folder, config, trainer.vocab_size)
    losses = evaluate.heldout_loss(trainer.model, heldout, device=trainer.device, bf16=False)
    baselines = evaluate.unigram_baselines(heldout, folder, trainer.batches.shares_L, trainer.vocab_size)
    taught = None
    if teacher is not None:
        taught = dict(teacher)
        cost = read_manifest(Path(teacher["folder"])) if teacher["folder"] else None
        if cost is not None:
            taught |= {key: cost[key] for key in ("size", "steps", "tokens", "seconds", "model_sha256")}
    return {
        "schema": SCHEMA,
        "name": request.name,
        "size": request.size,
        "objectives": "+".join(config.objectives),
        "asked": _asked(request),
        "is_teacher": request.is_teacher,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "languages": list(config.languages),
        "corpus": request.corpus.name,
        "corpus_sha256": request.corpus.identity,
        "tokenizer_sha256": tokenizer.fingerprint(vocabulary),
        "vocab_size": trainer.vocab_size,
        "shards": folder.name,
        "config": to_plain(config),
        "steps": trainer.step_number,
        "tokens": trainer.tokens,
        "seconds": round(trainer.seconds, 1),
        "threads": torch.get_num_threads(),
        "device": f"{trainer.device} ({platform.processor() or platform.machine()})",
        "packages": versions(PACKAGES),
        "heldout": {"mlm": losses, **baselines},
        "probe": probe.readability(trainer.model, heldout, device=trainer.device),
        "adversary": _adversary_outcome(trainer),
        "teacher": taught,
        **parameter_counts(trainer.model),
    }


def _adversary_outcome(trainer: Trainer) -> dict[str, Any] | None:
    if not trainer.adversary:
        return None
    return {
        "backoff": trainer.adversary.backoff,
        "references": trainer.adversary.references,
        "discriminator_accuracy": trainer.last.get("disc_accuracy"),
    }
