"""Resampled scores of one study: what its cells are drawn from, and what is kept for claims beyond a pair of models.

Legend: `A` arrays of units (one per model and seed), `N` examples, `G` groups, `R` resamples.
"""

from __future__ import annotations

import hashlib
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
    """Where the draws of a study's cells come from: seeded by `signature`, the groups and (unless parallel) language.

    Cells with the same groups meet the same draws: translations of one test set, and tasks that score it after another
    training. So whoever joins a study moves no number, and a mean over such cells keeps their dependence. Groups that
    are alike by chance do no harm: labels are exchanged jointly, which is as exact.
    """

    study: Study
    signature: str
    _universes: dict[CellKey, tuple[str, ...]] = field(default_factory=dict)
    _last: dict[str, tuple[tuple[str, ...], int, Drawn]] = field(default_factory=dict)

    def groups(self, key: CellKey) -> tuple[str, ...]:
        """Returns the groups that a cell is drawn from: its own, or all of the languages drawn jointly with it."""
        if key not in self._universes:
            cell = self.study.cells[key]
            together = [c for c in self.study.cells.values() if c.parallel and c.task == cell.task]
            universe = tuple(sorted({g for c in (together if cell.parallel else [cell]) for g in c.groups}))
            for one in together if cell.parallel else [cell]:
                self._universes[one.task, one.language] = universe
        return self._universes[key]

    def place(self, key: CellKey) -> tuple[NDArray[np.intp], int]:
        """Returns each row's group (N,) and how many groups there are."""
        universe = self.groups(key)
        return resampling.group_index(self.study.cells[key].groups, universe), len(universe)

    def seed(self, key: CellKey) -> tuple[str, ...]:
        """Returns what a cell's draws are seeded from; two cells with the same are drawn jointly."""
        items = hashlib.sha256("\n".join(self.groups(key)).encode()).hexdigest()[:16]
        return self.signature, items, "" if self.study.cells[key].parallel else key[1]

    def weights(self, key: CellKey, groups: int, resamples: int) -> Drawn:
        """Returns what the bootstrap of this cell draws."""
        return self._drawn("bootstrap", key, groups, resamples)

    def swaps(self, key: CellKey, groups: int, resamples: int) -> Drawn:
        """Returns what the permutations of this cell draw."""
        return self._drawn("swap", key, groups, resamples)

    def _drawn(self, kind: str, key: CellKey, groups: int, resamples: int) -> Drawn:
        seed = self.seed(key)
        held = self._last.get(kind)
        if held is None or held[:2] != (seed, resamples):
            draw = resampling.draw_weights if kind == "bootstrap" else resampling.draw_swaps
            drawn = draw(resampling.generator(kind, *seed), resamples, groups)
            held = self._last[kind] = (seed, resamples, drawn)
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
