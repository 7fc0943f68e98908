"""Records -> what they tell of each model's pretraining: which recipe it is a run of, what it shares with others."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from unibench.pairing import SCRATCH, CellKey
from unibench.store import RunRecord

VARIANTS, BASELINES = "UniBERT variants", "baselines"


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """How a model was pretrained; "" and None where its records don't say, as of a model that somebody else trained.

    `recipe` is a hash of everything that was asked of the pretraining but its seed. `objectives` is "none" for an
    untrained encoder. `sha256` is the model's own, by which it is known as a teacher of others.
    """

    recipe: str = ""
    pretraining_seed: int | None = None
    teacher_sha256: str = ""
    objectives: str = ""
    size: str = ""
    sha256: str = ""


def recipe_of(asked: Mapping[str, Any]) -> str:
    """Returns a hash of what was asked of a pretraining but its seed: equal in runs that differ by luck alone."""
    plain = json.dumps({key: value for key, value in asked.items() if key != "seed"}, sort_keys=True)
    return hashlib.sha256(plain.encode()).hexdigest()[:16]


def facts(records: Iterable[RunRecord]) -> dict[str, Facts]:
    """Returns the facts of every model, by name: those of its last record that has any."""
    out: dict[str, Facts] = {}
    for record in records:
        made = record.provenance
        said = made.extra if made is not None else {}
        seed = said.get("pretraining_seed")
        found = Facts(
            recipe=str(said.get("recipe", "")), pretraining_seed=None if seed is None else int(seed),
            teacher_sha256=str(said.get("teacher_sha256", "")), objectives=str(said.get("objectives", "")),
            size=str(said.get("size", "")), sha256=made.model_sha256 if made is not None else "",
        )  # fmt: skip
        if found != Facts() or record.job.model not in out:
            out[record.job.model] = found
    return dict(sorted(out.items()))


def trained_in(records: Iterable[RunRecord]) -> dict[CellKey, str]:
    """Returns the languages that each cell's models were fine-tuned in, for one setting fine-tunes all alike there."""
    return {(r.job.task, r.language): "+".join(r.job.train_languages) for r in records if r.status == "ok"}


def kinds(known: Mapping[str, Facts]) -> dict[str, str]:
    """Returns which group each model is of: VARIANTS, BASELINES; an untrained one is of none, and left out."""
    return {
        model: VARIANTS if "adversary" in of.objectives or "distill" in of.objectives else BASELINES
        for model, of in known.items()
        if of.objectives != "none" and model != SCRATCH
    }


def clusters(known: Mapping[str, Facts]) -> dict[str, str]:
    """Returns what stands for each model where labels are exchanged: the first model that it hangs together with.

    Models hang together that share a teacher, or are runs of one recipe, and so does a teacher with its students. Runs
    of a recipe differ by luck alone: had they a vote each, a recipe could outvote all others by being run once more,
    and p would speak of that recipe, not of its kind.
    """
    out = {model: model for model in known}
    first: dict[str, str] = {}
    for model, of in known.items():
        for shared in filter(None, (of.recipe, of.teacher_sha256, of.sha256)):
            old, new = out[model], out[first.setdefault(shared, model)]
            out = {name: new if cluster == old else cluster for name, cluster in out.items()}
    return out


def recipes(known: Mapping[str, Facts]) -> dict[str, dict[str, tuple[str, ...]]]:
    """Returns the runs of every recipe, by its hash: each with the names of its copies, its own first.

    Two models of one recipe and one pretraining seed are one run. Without a recorded seed two runs can't be told from
    copies, and count as one.
    """
    runs: dict[str, dict[int | None, list[str]]] = {}
    for model, of in known.items():
        if of.recipe:
            runs.setdefault(of.recipe, {}).setdefault(of.pretraining_seed, []).append(model)
    return {
        recipe: {copies[0]: tuple(copies) for copies in by_seed.values()} for recipe, by_seed in sorted(runs.items())
    }


def names(known: Mapping[str, Facts], runs: Mapping[str, int]) -> dict[str, str]:
    """Returns a readable and unique name for every recipe (hash), given how many `runs` it has."""
    words = {
        of.recipe: " ".join(filter(None, (of.size, of.objectives))) or "recipe"
        for of in known.values()
        if of.recipe in runs
    }
    for digits in (4, 8, 16):
        taken = list(words.values())
        words = {
            recipe: f"{said.split(' #')[0]} #{recipe[:digits]}" if taken.count(said) > 1 else said
            for recipe, said in words.items()
        }
    return {
        recipe: f"{words[recipe]} ({count} run{'' if count == 1 else 's'})" for recipe, count in sorted(runs.items())
    }
