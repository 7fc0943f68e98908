"""Who is compared with whom, where and on which seeds: settled before anything is drawn.

Legend: `N` examples, `K` units an example.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from unibench import metrics, stats
from unibench.metrics import Array

NAN = float("nan")
SCRATCH = "scratch"  # the encoder nobody trained: the chance floor where labels don't tell one

CellKey = tuple[str, str]  # task, language


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One task in one language: every model's units, seed by seed, on the same rows.

    `units[model][seed]` is (N, K); row i belongs to `groups[i]`. `parallel` says that group ids mean the same in all
    languages of the task, which are then resampled jointly. `floors` says what chance scores for a system whose
    untrained counterpart is not among `units`.
    """

    task: str
    language: str
    metric: str
    groups: tuple[str, ...]
    parallel: bool
    units: Mapping[str, Mapping[int, Array]]
    floors: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One model in one cell; `reference` is the baseline's score on the same seeds."""

    seeds: tuple[int, ...]
    score: float
    reference: float = NAN
    paired: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """Every cell and every model's point score in it, and the cells that means run over.

    `wanted` maps each task to the cells its mean runs over: those of the baseline, or all where it has none. `overall`
    holds the tasks of the overall mean: those of the baseline, or all when there is no baseline.
    """

    cells: Mapping[CellKey, Cell]
    points: Mapping[CellKey, Mapping[str, Point]]
    baseline: str | None
    wanted: Mapping[str, tuple[CellKey, ...]]
    overall: tuple[str, ...]
    undefined: tuple[CellKey, ...]

    def tasks(self, task: str | None) -> tuple[str, ...]:
        return self.overall if task is None else (task,)

    def scope(self, task: str | None) -> tuple[CellKey, ...]:
        return tuple(key for name in self.tasks(task) for key in self.wanted[name])

    def entering(self, model: str, task: str | None) -> tuple[CellKey, ...]:
        """The wanted cells that this model has, on seeds it shares with the baseline if that has any there."""
        return tuple(
            key
            for key in self.scope(task)
            if model in (at := self.points[key])
            and (at[model].paired or model == self.baseline or self.baseline not in at)
        )

    def delta(self, model: str, keys: Iterable[CellKey]) -> float:
        """The mean difference over these cells; nan without a defined pair in each of them."""
        at = {key: self.points[key][model] for key in keys}
        return stats.macro_mean({key: point.score - point.reference for key, point in at.items()})


def plan(cells: Iterable[Cell], baseline: str | None) -> Study:
    """Returns the study of these cells against a baseline; None compares nothing."""
    table = {(cell.task, cell.language): cell for cell in sorted(cells, key=lambda c: (c.task, c.language))}
    points = {key: _points(cell, baseline) for key, cell in table.items()}
    has = [key for key, at in points.items() if baseline is not None and baseline in at]
    undefined = tuple(key for key in has if baseline is not None and np.isnan(points[key][baseline].score))
    wanted: dict[str, tuple[CellKey, ...]] = {}
    for task in dict.fromkeys(task for task, _ in table):
        mine = [key for key in has if key[0] == task] or [key for key in table if key[0] == task]
        wanted[task] = tuple(key for key in mine if key not in undefined)
    overall = tuple(dict.fromkeys(task for task, _ in has or table))
    return Study(cells=table, points=points, baseline=baseline, wanted=wanted, overall=overall, undefined=undefined)


def _points(cell: Cell, baseline: str | None) -> dict[str, Point]:
    def mean(model: str, seeds: Iterable[int]) -> float:
        return float(np.mean([metrics.score(cell.metric, cell.units[model][seed]) for seed in seeds]))

    reference = cell.units.get(baseline, {}) if baseline is not None else {}
    out = {}
    for model, by_seed in sorted(cell.units.items()):
        common = tuple(sorted(by_seed.keys() & reference.keys()))
        if baseline is None or model == baseline or not common:
            out[model] = Point(seeds=tuple(sorted(by_seed)), score=mean(model, sorted(by_seed)))
        else:
            out[model] = Point(seeds=common, score=mean(model, common), reference=mean(baseline, common), paired=True)
    return out


def chance(cell: Cell, points: Mapping[str, Point], model: str) -> float:
    """What chance scores in this cell: the majority class where labels tell, else the untrained encoder, else 0.

    The untrained encoder is no floor of its own.
    """
    units = next(iter(next(iter(cell.units.values())).values()))
    by_labels = metrics.floor(cell.metric, units)
    untrained = points[SCRATCH].score if SCRATCH in points and model != SCRATCH else cell.floors.get(model, 0.0)
    if metrics.lookup(cell.metric).unit_names == metrics.NLI_UNITS or np.isnan(untrained):
        return by_labels
    return max(0.0, untrained)
