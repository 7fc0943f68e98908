"""Cells -> comparisons: every model against one baseline, per language, per task and overall, with their uncertainty.

Legend: `N` examples, `K` units an example, `S` seeds, `R` resamples. Arrays only; records are report.py's business.

What p claims: these trained models, on new examples. Training is held fixed, so "this way of training is better" is a
claim none of these numbers makes.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from unibench import metrics, pairing, resampling, stats
from unibench.metrics import Array
from unibench.pairing import NAN, Cell, CellKey, Study

Key = TypeVar("Key", bound=Hashable)
Test = tuple[str, tuple[CellKey, ...]]  # a model, and the cells it is compared in

TEST = "paired permutation of example groups, two-sided"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One model's score, and its difference from the baseline's, in one cell or averaged (`language`, `task` None).

    Scores are 0..1 and averaged over `seeds`, those that both models have; means run language -> task -> overall.
    `ci_low`, `ci_high` bound `delta`; every interval is at 95 %. `relative_improvement` and `ratio` (of means) are over
    the eligible cells only. What can't be known, or doesn't apply (the baseline against itself), is nan.
    `cells` of the `cells_wanted` entered; `floor` is what chance scores (cells only) and `above_floor` whether the
    score's interval lies above it.
    """

    model: str
    baseline: str | None
    task: str | None
    language: str | None
    metric: str
    score: float
    score_low: float
    score_high: float
    baseline_score: float = NAN
    delta: float = NAN
    ci_low: float = NAN
    ci_high: float = NAN
    relative_improvement: float = NAN
    ri_low: float = NAN
    ri_high: float = NAN
    ratio: float = NAN
    p: float = NAN
    p_adjusted: float = NAN
    test: str = TEST
    n: int = 0
    seeds: tuple[int, ...] = ()
    floor: float = NAN
    above_floor: bool = False
    cells: int = 1
    cells_wanted: int = 1
    ri_cells: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparisons:
    """All comparisons of one setting, and what their footer must say.

    `rows` go by task, language (cells first, then the task's mean), model; the overall means come last. `family` tests
    were adjusted together. `ineligible` maps each baseline cell left out of relative improvements to its (lower bound,
    floor). `undefined` lists the baseline's cells without a defined score, left out of every mean.
    """

    rows: tuple[Comparison, ...]
    family: int
    resamples: int  # bootstrap samples of each interval
    swaps: int  # permutations of each test
    ineligible: Mapping[CellKey, tuple[float, float]]
    undefined: tuple[CellKey, ...]


@dataclass(frozen=True, slots=True)
class _Draws:
    """Resampled values (R,), summed over the languages of each (what, model, task), so that no cell's are kept."""

    sums: dict[tuple[str, str, str], Array]
    counts: dict[tuple[str, str, str], int]

    def add(self, what: str, model: str, task: str, values: Array) -> None:
        key = (what, model, task)
        self.sums[key] = self.sums[key] + values if key in self.sums else values
        self.counts[key] = self.counts.get(key, 0) + 1

    def mean(self, what: str, model: str, tasks: Iterable[str]) -> Array:
        """Returns the mean over languages, then over these tasks; (0,) where nothing was added."""
        keys = [(what, model, task) for task in tasks if (what, model, task) in self.sums]
        means = [self.sums[key] / self.counts[key] for key in keys]
        return np.asarray(np.mean(means, axis=0)) if means else np.empty(0)


def compare(
    cells: Iterable[Cell], *, baseline: str | None, signature: str = "", resamples: int = 10_000
) -> Comparisons:
    """Returns every model's comparison with `baseline` per cell, per task and overall, p adjusted as one family.

    The family is all comparisons of all models but the baseline; two that average the very same cells are one test.
    Adjusted by Holm 1979. Tests use `resamples`, raised to 40 per test. `signature` enters every Generator's seed,
    beside the task (and the language, where languages aren't parallel); no model does, so all models meet the same
    resamples and adding one moves no other's numbers. A cell where the baseline's score is undefined enters no mean; a
    model's own undefined score makes its means nan.
    """
    return compare_all({"": (cells, baseline)}, signature=signature, resamples=resamples)[""]


def compare_all(
    asked: Mapping[Key, tuple[Iterable[Cell], str | None]], *, signature: str = "", resamples: int = 10_000
) -> dict[Key, Comparisons]:
    """Returns what `compare` says of each of these (cells, baseline), with the p of all of them adjusted as one family.

    Each `Comparisons.family` counts that whole family.
    """
    studies = {key: pairing.plan(cells, baseline) for key, (cells, baseline) in asked.items()}
    scopes = {key: _scopes(study) for key, study in studies.items()}
    families = {key: _family(study, scopes[key]) for key, study in studies.items()}
    family = sum(map(len, families.values()))
    swaps = stats.resamples_for(family, resamples)

    found: dict[Key, list[tuple[Comparison, Test]]] = {}
    ineligible: dict[Key, dict[CellKey, tuple[float, float]]] = {}
    for key, study in studies.items():
        draws = _Draws({}, {})
        left_out = ineligible.setdefault(key, {})
        rows = found.setdefault(key, [])
        for cell in study.cells:
            made = _cell_rows(study, cell, draws, left_out, signature, resamples, swaps)
            rows += [(row, (row.model, (cell,))) for row in made]
        for model, task in scopes[key]:
            rows.append((_mean_row(study, model, task, draws, left_out), (model, study.entering(model, task))))

    raw = {(key, test): row.p for key, rows in found.items() for row, test in rows if test in families[key]}
    adjusted = dict(zip(raw, stats.holm(list(raw.values())), strict=True))
    return {
        key: Comparisons(
            rows=tuple(replace(row, p_adjusted=adjusted.get((key, test), NAN)) for row, test in rows),
            family=family,
            resamples=resamples,
            swaps=swaps,
            ineligible=ineligible[key],
            undefined=studies[key].undefined,
        )
        for key, rows in found.items()
    }


def _scopes(study: Study) -> list[tuple[str, str | None]]:
    """Returns every (model, task) that has a mean, task None for the overall one."""
    models = sorted({model for at in study.points.values() for model in at})
    return [(model, task) for task in [*study.wanted, None] for model in models if study.entering(model, task)]


def _family(study: Study, scopes: Iterable[tuple[str, str | None]]) -> set[Test]:
    tests: set[Test] = {(model, study.entering(model, task)) for model, task in scopes}
    tests |= {(model, (key,)) for key, at in study.points.items() for model in at}
    return {(model, keys) for model, keys in tests if not np.isnan(study.delta(model, keys))}


def _cell_rows(
    study: Study,
    key: CellKey,
    draws: _Draws,
    ineligible: dict[CellKey, tuple[float, float]],
    signature: str,
    resamples: int,
    swaps: int,
) -> list[Comparison]:
    """Returns the comparisons of all models in one cell, and adds their resamples to the means they enter."""
    cell, points, baseline = study.cells[key], study.points[key], study.baseline
    metric = metrics.lookup(cell.metric)
    together = [c for c in study.cells.values() if c.task == cell.task] if cell.parallel else [cell]
    universe = sorted({group for c in together for group in c.groups})
    place_N = resampling.group_index(cell.groups, universe)
    seed = (signature, cell.task, "" if cell.parallel else cell.language)

    runs = [(model, s) for model in points for s in sorted(cell.units[model])]
    units_ANK = np.stack([cell.units[model][s] for model, s in runs])
    rng = resampling.generator("bootstrap", *seed)
    boot_AR = resampling.bootstrap(metric, units_ANK, place_N, len(universe), resamples, rng)

    def boot(model: str | None, seeds: tuple[int, ...]) -> Array:
        return np.asarray(
            boot_AR[[i for i, run in enumerate(runs) if run[0] == model and run[1] in seeds]].mean(axis=0)
        )

    paired = [model for model in points if not np.isnan(study.delta(model, [key]))]
    units = [
        tuple(np.stack([cell.units[m][s] for s in points[model].seeds]) for m in (model, str(baseline)))
        for model in paired
    ]
    rng = resampling.generator("swap", *seed)
    null_PR = resampling.swap(metric, [(a, b) for a, b in units], place_N, len(universe), swaps, rng)

    enters_ri = False
    if baseline is not None and baseline in points and key not in study.undefined:
        low, floor = (
            resampling.interval(boot(baseline, points[baseline].seeds))[0],
            pairing.chance(cell, points, baseline),
        )
        enters_ri = stats.eligible(low, floor)
        if not enters_ri:
            ineligible[key] = (low, floor)

    rows = []
    for model, point in points.items():
        mine = boot(model, point.seeds)
        low, high = resampling.interval(mine)
        floor = pairing.chance(cell, points, model)
        row = Comparison(
            model=model, baseline=baseline, task=cell.task, language=cell.language, metric=cell.metric,
            score=point.score, score_low=low, score_high=high, n=len(cell.groups), seeds=point.seeds,
            floor=floor, above_floor=low > floor,
        )  # fmt: skip
        enters = key in study.entering(model, cell.task)
        if enters:
            draws.add("score", model, cell.task, mine)
        if point.paired:
            theirs = boot(baseline, point.seeds)
            null = null_PR[paired.index(model)] if model in paired else np.full(swaps, np.nan)
            delta = point.score - point.reference
            low, high = resampling.interval(mine - theirs)
            row = replace(
                row, baseline_score=point.reference, delta=delta, ci_low=low, ci_high=high,
                p=resampling.p_value(delta, null),
            )  # fmt: skip
            if enters:
                draws.add("delta", model, cell.task, mine - theirs)
                draws.add("null", model, cell.task, null)
            if enters_ri:
                improved = stats.relative_improvement(mine, theirs)
                draws.add("improvement", model, cell.task, improved)
                low, high = resampling.interval(improved)
                ri = stats.relative_improvement(point.score, point.reference)
                row = replace(
                    row, relative_improvement=ri, ri_low=low, ri_high=high,
                    ratio=point.score / point.reference, ri_cells=1,
                )  # fmt: skip
        rows.append(row)
    return rows


def _mean_row(
    study: Study, model: str, task: str | None, draws: _Draws, ineligible: Mapping[CellKey, tuple[float, float]]
) -> Comparison:
    """Returns one model's comparison averaged over a task's languages, or over languages, then tasks."""
    keys = study.entering(model, task)
    points = {key: study.points[key][model] for key in keys}
    fair = {key: point for key, point in points.items() if point.paired and key not in ineligible}
    tasks = study.tasks(task)
    delta = study.delta(model, keys)
    score_low, score_high = resampling.interval(draws.mean("score", model, tasks))
    ci_low, ci_high = resampling.interval(draws.mean("delta", model, tasks))
    ri_low, ri_high = resampling.interval(draws.mean("improvement", model, tasks))
    below = stats.macro_mean({key: point.reference for key, point in fair.items()})
    seeds = [set(point.seeds) for point in points.values()]
    names = {study.cells[key].metric for key in keys}
    return Comparison(
        model=model, baseline=study.baseline, task=task, language=None,
        metric=names.pop() if len(names) == 1 else "",
        score=stats.macro_mean({key: point.score for key, point in points.items()}),
        score_low=score_low, score_high=score_high,
        baseline_score=stats.macro_mean({key: point.reference for key, point in points.items()}),
        delta=delta, ci_low=ci_low, ci_high=ci_high,
        relative_improvement=stats.macro_mean(
            {k: stats.relative_improvement(point.score, point.reference) for k, point in fair.items()}
        ),
        ri_low=ri_low, ri_high=ri_high,
        ratio=stats.macro_mean({k: point.score for k, point in fair.items()}) / below if fair else NAN,
        p=resampling.p_value(delta, draws.mean("null", model, tasks)),
        n=sum(len(study.cells[key].groups) for key in keys),
        seeds=tuple(sorted(set.union(*seeds))),
        cells=len(keys), cells_wanted=len(study.scope(task)), ri_cells=len(fair),
    )  # fmt: skip
