"""The permutation null of every test of a study: a model against the baseline, in a cell or averaged over cells.

Legend: `P` pairs of systems, `R` resamples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from unibench import metrics, resampling
from unibench.draws import Source
from unibench.metrics import Array
from unibench.pairing import CellKey
from unibench.stats import power

Test = tuple[str, tuple[CellKey, ...]]  # a model, and the cells it is compared in

ESCALATION = 8  # times the resamples for a p whose Monte-Carlo error leaves open on which side of alpha it lies


@dataclass(frozen=True, slots=True, kw_only=True)
class Tested:
    """A test's p from so many `swaps`, and the least true difference that it finds in four cases of five."""

    p: float
    swaps: int
    detectable: float


def permute(source: Source, tests: Mapping[Test, int], *, swaps: int, alpha: float = 0.05) -> dict[Test, Tested]:
    """Returns every test's p and what it could have found, from `swaps` permutations of whole groups.

    A mean's null is the mean of its cells' nulls, language -> task -> overall; cells drawn jointly meet the same swaps.
    `tests` maps each to the most that its p is to be multiplied by.
    """
    study = source.study
    wanted = {test: _weights(test[1]) for test in tests}
    last = {test: max(weights) for test, weights in wanted.items()}  # cells stand in sorted order
    sums: dict[Test, Array] = {}
    coins: dict[Test, int] = {}
    out: dict[Test, Tested] = {}
    for key in study.cells:
        here = {test: weights[key] for test, weights in wanted.items() if key in weights}
        models = sorted({model for model, _ in here})
        if not models:
            continue
        null_PR = _swapped(source, key, models, swaps)
        groups = len(set(study.cells[key].groups))  # those of other languages swap nothing here
        for test, weight in here.items():
            share = weight * null_PR[models.index(test[0])]
            sums[test] = sums[test] + share if test in sums else share
            coins[test] = max(coins.get(test, 0), groups)  # a mean has as many coins as its largest cell, at least
            if key == last[test]:
                found = power.detectable(sums[test], groups=coins[test], family=tests[test], alpha=alpha)
                p = resampling.p_value(study.delta(*test), sums.pop(test))
                out[test] = Tested(p=p, swaps=swaps, detectable=found.difference)
    return out


def undecided(found: Mapping[Test, Tested], adjusted: Mapping[Test, float], alpha: float) -> list[Test]:
    """Returns the tests whose adjusted p may lie on the other side of alpha but for the luck of the draw.

    One that is rejected though no draw reached it counts as settled: more draws would raise its p past alpha so seldom
    that its level grows by a twentieth of itself at most, with as many draws as `stats.resamples_for` asks for.
    """
    out = []
    for test, of in found.items():
        if adjusted[test] <= alpha and of.p * (of.swaps + 1) < 1.5:
            continue
        factor = adjusted[test] / of.p if of.p > 0 else 1.0
        if factor > 0 and resampling.near_edge(of.p, min(1.0, alpha / factor), of.swaps):
            out.append(test)
    return out


def _swapped(source: Source, key: CellKey, models: Sequence[str], swaps: int) -> Array:
    study = source.study
    cell, points = study.cells[key], study.points[key]
    pairs = [
        tuple(np.stack([cell.units[m][s] for s in points[model].seeds]) for m in (model, str(study.baseline)))
        for model in models
    ]
    place_N, groups = source.place(key)
    return resampling.swap(
        metrics.lookup(cell.metric), [(a, b) for a, b in pairs], place_N, groups, swaps,
        source.swaps(key, groups, swaps),
    )  # fmt: skip


def _weights(keys: Sequence[CellKey]) -> dict[CellKey, float]:
    """Returns each cell's weight in the mean over languages, then tasks."""
    sizes: dict[str, int] = {}
    for task, _ in keys:
        sizes[task] = sizes.get(task, 0) + 1
    return {key: 1 / (len(sizes) * sizes[key[0]]) for key in keys}
