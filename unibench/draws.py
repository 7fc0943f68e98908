"""Resampled scores of one study: what its cells are drawn from, and what is kept for claims beyond a pair of models.

Legend: `A` arrays of units (one per model and seed), `N` examples, `G` groups, `R` resamples.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from unibench import metrics, resampling
from unibench.metrics import Array
from unibench.pairing import Cell, CellKey, Study
from unibench.resampling import Drawn

KEPT = 1000  # resamples of each cell kept for claims that need covariances only

Run = tuple[str, int]  # model, fine-tuning seed


@dataclass(slots=True)
class Source:
    """Where the draws of a study's cells come from: seeded by `signature`, task and (unless parallel) language.

    Translations of one test set have groups in common, and meet the same draws, which are made once.
    """

    study: Study
    signature: str
    _places: dict[str, dict[str, int]] = field(default_factory=dict)
    _last: dict[tuple[str, str], tuple[str, int, Drawn]] = field(default_factory=dict)

    def place(self, key: CellKey) -> tuple[NDArray[np.intp], int]:
        """Returns each row's group (N,) and how many groups there are, over all languages that are drawn jointly."""
        cell = self.study.cells[key]
        if not cell.parallel:
            universe = sorted(set(cell.groups))
            return resampling.group_index(cell.groups, universe), len(universe)
        if cell.task not in self._places:
            together = [c for c in self.study.cells.values() if c.task == cell.task]
            self._places[cell.task] = {g: i for i, g in enumerate(sorted({g for c in together for g in c.groups}))}
        place = self._places[cell.task]
        return np.array([place[group] for group in cell.groups], dtype=np.intp), len(place)

    def seed(self, cell: Cell) -> tuple[str, ...]:
        return self.signature, cell.task, "" if cell.parallel else cell.language

    def weights(self, key: CellKey, groups: int, resamples: int) -> Drawn | np.random.Generator:
        """Returns what the bootstrap of this cell draws."""
        return self._drawn("bootstrap", key, groups, resamples)

    def swaps(self, key: CellKey, groups: int, resamples: int) -> Drawn | np.random.Generator:
        """Returns what the permutations of this cell draw."""
        return self._drawn("swap", key, groups, resamples)

    def _drawn(self, kind: str, key: CellKey, groups: int, resamples: int) -> Drawn | np.random.Generator:
        cell = self.study.cells[key]
        rng = resampling.generator(kind, *self.seed(cell))
        if not cell.parallel:
            return rng
        held = self._last.get((kind, ""))
        if held is None or held[:2] != (cell.task, resamples):
            draw = resampling.draw_weights if kind == "bootstrap" else resampling.draw_swaps
            held = self._last[kind, ""] = (cell.task, resamples, draw(rng, resamples, groups))
        return held[2]


@dataclass(slots=True)
class Draws:
    """Bootstrap draws (R,) of each (what, model, task), summed over languages, and a part of every cell's own.

    `what` is "score", "delta" or "improvement". `kept` maps a cell to the scores (A, KEPT) of its runs, in the order of
    `runs`: the same resamples in cells drawn jointly.
    """

    sums: dict[tuple[str, str, str], Array] = field(default_factory=dict)
    counts: dict[tuple[str, str, str], int] = field(default_factory=dict)
    kept: dict[CellKey, Array] = field(default_factory=dict)
    runs: dict[CellKey, tuple[Run, ...]] = field(default_factory=dict)

    def add(self, what: str, model: str, task: str, values: Array) -> None:
        key = (what, model, task)
        self.sums[key] = self.sums[key] + values if key in self.sums else values
        self.counts[key] = self.counts.get(key, 0) + 1

    def mean(self, what: str, model: str, tasks: Iterable[str]) -> Array:
        """Returns the mean over languages, then over these tasks; (0,) where nothing was added."""
        keys = [(what, model, task) for task in tasks if (what, model, task) in self.sums]
        means = [self.sums[key] / self.counts[key] for key in keys]
        return np.asarray(np.mean(means, axis=0)) if means else np.empty(0)

    def of_runs(self, key: CellKey, wanted: Iterable[Run]) -> Array:
        """Returns the kept draws (len(wanted), KEPT) of these runs of a cell, in this order."""
        index = {run: i for i, run in enumerate(self.runs[key])}
        return np.asarray(self.kept[key][[index[run] for run in wanted]], dtype=np.float64)


def scores_of(cell: Cell) -> Mapping[Run, float]:
    """Returns every run's score in a cell."""
    return {
        (model, seed): metrics.score(cell.metric, units)
        for model, by_seed in sorted(cell.units.items())
        for seed, units in sorted(by_seed.items())
    }
