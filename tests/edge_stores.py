"""Stores that lack something, or hold what nobody would expect: records, and what a report must say of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from toy_records import N, missing, record

from unibench.store import RunRecord

CELLS = (("xnli", "de"), ("xnli", "en"), ("wikiann", "en"))
BOTH = (("mbert", 0.5), ("small", 0.8))
HOSTILE = (
    "<script>window.harm = 1</script>", "a_b&c%d$e#f{g}~h^i\\end{document}", "\u202eevil مرحبا", "x" * 200,
    "../../x\"'", "a,b\n|c`*", "$\\frac{1}{0}$",
)  # fmt: skip


def some(models: Sequence[tuple[str, float]] = BOTH, cells: Any = CELLS, seeds: Any = (0,)) -> list[RunRecord]:
    return [record(m, task, language, s, quality) for m, quality in models for task, language in cells for s in seeds]


def without(records: Sequence[RunRecord], model: str, task: str, language: str) -> list[RunRecord]:
    return [r for r in records if (r.job.model, r.job.task, r.language) != (model, task, language)]


def called(one: RunRecord, name: str) -> RunRecord:
    return replace(one, job=replace(one.job, model=name))


def constant(model: str) -> RunRecord:
    """A model of sentence similarity that says the same of every pair: no correlation is defined."""
    one = record(model, "sts17", "en-tr")
    assert one.units is not None
    return replace(one, units=np.column_stack([one.units[:, 0], np.full(N, 0.5)]))


def runs(objectives: str, count: int, quality: float) -> list[RunRecord]:
    """Runs of one recipe, which differ in the seed of their pretraining and a little in what came of it."""
    told = {"recipe": objectives, "size": "small", "objectives": objectives}
    return [
        record(f"{objectives}-{i}", task, "en", 0, quality + i / 100,
               provenance={"extra": {**told, "pretraining_seed": i}, "model_sha256": f"{objectives} {i}"})
        for i in range(count) for task in ("xnli", "wikiann")
    ]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """Records, what a report must say of them in words and must not say, and the options it takes."""

    records: Sequence[RunRecord]
    said: tuple[str, ...] = ()
    unsaid: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    compared: bool = True  # whether anything is


TWINS = some([("mbert", 0.6)], (*CELLS, ("sts17", "en-tr")), (0, 1))
EDGES: Mapping[str, Edge] = {
    "one model alone": Edge(
        records=some([("small", 0.8)]), said=("Baseline: none (none of mbert,", "One seed only"), compared=False
    ),
    "two identical models": Edge(
        records=[*TWINS, *(called(r, "twin") for r in TWINS)],
        said=("twin is better in 0 of 4 cells", "No detectable difference is known where no group differs"),
        unsaid=("▲", "▼"),
    ),
    "a missing language": Edge(
        records=without(some(), "small", "xnli", "de"),
        said=("† a mean over fewer cells than the baseline has", "small is not ranked: it has 2 of 3 cells."),
    ),
    "a language the baseline lacks": Edge(records=without(some(), "mbert", "xnli", "de"), said=("– not known",)),
    "an unavailable model": Edge(
        records=[*some(), missing("gone", language="all", status="unavailable")],
        said=("xnli gone unavailable out of memory all",), unsaid=("gone is",),
    ),
    "a failed seed": Edge(
        records=[*some(seeds=(0, 1))[:-1], missing("small", "wikiann", "en", seed=1)],
        said=("means over 1 to 2 fine-tuning seeds; two models are compared on the seeds that both have",
              "* the models' seeds differ here", "wikiann small failed out of memory 1 en 1"),
    ),
    "no seed in common": Edge(
        records=[record("mbert", seed=0), record("small", seed=1)], compared=False,
        said=("No mean, for in no cell is there a seed with a defined score of mbert too: small.",),
    ),
    "a single seed": Edge(records=some(), said=("One seed only: what another fine-tuning",)),
    "all failed": Edge(
        records=[missing(m, task) for m in ("mbert", "small") for task in ("xnli", "wikiann")],
        said=("all 2 tasks mbert, small failed out of memory 1 en", "Nothing in this setting succeeded"),
        compared=False,
    ),
    "a constant model": Edge(
        records=[record("mbert", "sts17", "en-tr"), constant("small"), record("mbert"), record("small")],
        said=("‡ undefined: no examples, or a correlation with constant predictions.", "small is not ranked"),
    ),
    "a constant baseline": Edge(
        records=[constant("mbert"), record("small", "sts17", "en-tr"), record("mbert"), record("small")],
        said=("Out of every mean, the baseline's score being undefined: sts17 en-tr.",),
    ),
    "nothing but constants": Edge(
        records=[constant("mbert"), constant("small")], compared=False,
        said=("No mean, for in no cell is there a seed with a defined score of mbert too: mbert, small.",),
    ),
    "one task": Edge(records=some(cells=CELLS[:2]), said=("1 differing task cannot be significant",)),
    "one language": Edge(records=some(cells=CELLS[1:]), said=("no score outside en, so no gap",)),
    "the baseline only": Edge(
        records=some(BOTH[:1]), said=("No other model has scores in this setting, so nothing is compared.",),
        compared=False,
    ),
    "a baseline that failed": Edge(
        records=[record("small"), record("other"), missing("mbert")], options=("--baseline", "mbert"),
        said=("mbert has no score in this setting, so nothing is compared.", "xnli mbert failed out of memory 1 en"),
        compared=False,
    ),
    "a model that lacks a task": Edge(
        records=without(some([*BOTH, ("third", 0.9)]), "third", "wikiann", "en"),
        said=("third is not ranked: it has 2 of 3 cells.", "† a mean over fewer cells"),
    ),
    "five runs a side": Edge(
        records=[*runs("mlm", 5, 0.5), *runs("distill", 5, 0.8)], options=("--baseline", "mlm-0"),
        said=("What luck alone does: the runs of one recipe, small mlm (5 runs)",),
    ),
    "two runs against five": Edge(
        records=[*runs("mlm", 2, 0.5), *runs("distill", 5, 0.8)], options=("--baseline", "mlm-0"),
        said=("5 runs against 2: at least 5 a side are needed; every run is shown instead",),
    ),
    "names that mean harm": Edge(
        records=[
            record("mbert", quality=0.4), *(called(record("small", quality=0.5 + i / 20), n)
                                            for i, n in enumerate(HOSTILE)),
            replace(called(missing("small", language="de"), HOSTILE[0]), reason=f"no {HOSTILE[1]}"),
        ],
        unsaid=("seeds differ here",),
    ),
}  # fmt: skip
