"""Resampling whole groups of examples: bootstrap, jackknife and paired swaps of any metric.

Legend: `A` arrays of units (one per model and seed), `S` seeds, `P` pairs of systems, `N` examples, `K` units,
`F` features, `G` groups, `R` resamples.

Cells that must be resampled jointly (translations of one test set) are given the same `G` and what was drawn for it
once, or Generators seeded alike: then they meet the same draws, whatever else is in the table, and an average over them
keeps their dependence. A Generator that goes on gives the resamples after the first ones, so more can be drawn later.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unibench.metrics import Array, Metric
from unibench.reduces import mean
from unibench.stats.samples import TIE, bca, interval, near_edge, p_value

__all__ = [
    "TIE",
    "bca",
    "bootstrap",
    "draw_swaps",
    "draw_weights",
    "generator",
    "group_index",
    "interval",
    "jackknife",
    "near_edge",
    "p_value",
    "swap",
]

Drawn = NDArray[np.uint8]  # (R, ·): what `draw_weights` or `draw_swaps` drew

CHUNK = 250_000  # numbers held at once: 2 MB an array, a handful of arrays
COUNTED = 32_768  # draws counted at once: their counts stay in a core's cache
EXACT = 2**24  # whole numbers up to here, and their sums, are exact in 32 bits


def generator(*signature: str) -> np.random.Generator:
    """Returns a Generator seeded from the sha256 of a signature, so that adding another signature moves no number."""
    digest = hashlib.sha256("\n".join(signature).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest, "big"))


def group_index(groups: Sequence[str], universe: Sequence[str]) -> NDArray[np.intp]:
    """Returns each row's place (N,) among the groups of `universe`, which holds every one of them."""
    place = {group: i for i, group in enumerate(universe)}
    return np.array([place[group] for group in groups], dtype=np.intp)


def draw_weights(rng: np.random.Generator, resamples: int, groups: int) -> Drawn:
    """Returns how often each group is drawn (R, G) when `groups` of them are, with replacement.

    Every row sums to `groups`. Of more resamples the first are the same. That a group is drawn more than 255 times has
    a probability below 1e-500.
    """
    out = np.empty((resamples, groups), dtype=np.uint8)
    step = max(1, COUNTED // max(1, groups))
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        places = rng.integers(0, groups, size=(rows, groups)) + groups * np.arange(rows)[:, None]
        out[start : start + rows] = np.bincount(places.ravel(), minlength=rows * groups).reshape(rows, groups)
    return out


def draw_swaps(rng: np.random.Generator, resamples: int, groups: int) -> Drawn:
    """Returns fair coins, a bit a group, in whole words a resample (R, 8 * ceil(G / 64)).

    Of more resamples the first are the same.
    """
    words = rng.integers(0, 2**64, size=(resamples, -(-groups // 64)), dtype=np.uint64)
    return words.astype("<u8").view(np.uint8)


def bootstrap(
    metric: Metric,
    units_ANK: Array,
    group_N: NDArray[np.intp],
    groups: int,
    resamples: int,
    draws: np.random.Generator | Drawn,
) -> Array:
    """Returns the score (A, R) of every array of units in every bootstrap sample of groups.

    Each sample draws `groups` groups with replacement, the same ones for all arrays; a group brings all its rows.
    `draws` is a Generator, or what `draw_weights` drew from one, for cells that are resampled jointly. nan where a
    sample leaves the score undefined. Source: Efron & Tibshirani 1993, the cluster ("block") bootstrap.
    """
    out = np.full((len(units_ANK), resamples), np.nan)
    if not groups or not units_ANK.size:
        return out
    if metric.reweigh is not None:
        for start, stop in _chunks(resamples, max(groups, len(group_N)) // 4):  # each chunk costs sorting
            weights_RG = _next(draw_weights, draws, start, stop, groups)
            out[:, start:stop] = metric.reweigh(units_ANK, weights_RG[:, group_N].astype(np.float64))
        return out
    table_AFG = _features(metric, units_ANK, group_N, groups)
    alike_F = (table_AFG == table_AFG[:1]).all(axis=(0, 2))  # what all models share, as gold labels, is summed once
    columns_XG = np.concatenate([table_AFG[0, alike_F], table_AFG[:, ~alike_F].reshape(-1, groups)])
    columns_XG = columns_XG.astype(_precision(columns_XG, groups))
    arrays, features = table_AFG.shape[:2]
    for start, stop in _chunks(resamples, max(groups, arrays * features)):
        weights_RG = _next(draw_weights, draws, start, stop, groups)
        sums_XR = columns_XG @ weights_RG.T.astype(columns_XG.dtype)
        totals_AFR = np.empty((arrays, features, stop - start))
        totals_AFR[:, alike_F] = sums_XR[: np.count_nonzero(alike_F)]
        totals_AFR[:, ~alike_F] = sums_XR[np.count_nonzero(alike_F) :].reshape(arrays, -1, stop - start)
        out[:, start:stop] = metric.finish(np.moveaxis(totals_AFR, 1, -1))
    return out


def jackknife(metric: Metric, units_ANK: Array, group_N: NDArray[np.intp], groups: int) -> Array:
    """Returns the score (A, G) of every array of units without each group in turn; nan where nothing defined is left.

    A group without rows, as one that only another language has, leaves the score as it is. Source: Efron & Tibshirani
    1993, ch. 11, groups in place of examples.
    """
    out = np.full((len(units_ANK), groups), np.nan)
    if not groups or not units_ANK.size:
        return out
    if metric.reweigh is not None:
        for start, stop in _chunks(groups, len(group_N)):
            kept_GN = np.arange(start, stop)[:, None] != group_N
            out[:, start:stop] = metric.reweigh(units_ANK, kept_GN.astype(np.float64))
        return out
    table_AFG = _features(metric, units_ANK, group_N, groups)
    return metric.finish(np.moveaxis(table_AFG.sum(axis=2, keepdims=True) - table_AFG, 1, -1))


def swap(
    metric: Metric,
    pairs: Sequence[tuple[Array, Array]],
    group_N: NDArray[np.intp],
    groups: int,
    resamples: int,
    draws: np.random.Generator | Drawn,
) -> Array:
    """Returns the differences (P, R) of seed-averaged scores after swapping whole groups between two systems.

    Each pair is (system, baseline), two (S, N, K) arrays over the same seeds and rows; a group's rows change sides
    together, in all seeds at once, with probability 1/2, and every pair meets the same swaps. `draws` is a Generator,
    or what `draw_swaps` drew from one, for cells that are swapped jointly. Units pass through `metric.prepare` within
    system and seed first. Inputs aren't mutated. Exact where rows are exchangeable as they are; for correlations, whose
    units are ranked or standardised before any swap, nearly.
    Source: the approximate randomisation test of Noreen 1989, with groups as units.
    """
    out = np.full((len(pairs), resamples), np.nan)
    if not groups or not pairs:
        return out
    ours, theirs = (
        _features(metric, [units for pair in pairs for units in pair[side]], group_N, groups, metric.prepare)
        for side in (0, 1)
    )
    gaps = _mean_gaps if metric.finish is mean else _gaps
    seeds = [len(system) for system, _ in pairs]
    shifts_XG, gaps_of = gaps(metric, seeds, (ours + theirs).sum(axis=2) / 2, (ours - theirs) / 2)
    shifts_XG = shifts_XG.astype(_precision(2 * shifts_XG, groups))
    all_X = shifts_XG.sum(axis=1, dtype=np.float64)
    arrays, features, _ = ours.shape
    for start, stop in _chunks(resamples, max(groups, arrays * features)):
        packed = _next(draw_swaps, draws, start, stop, groups)
        bits_RG = np.unpackbits(packed, axis=1, count=groups).astype(shifts_XG.dtype)
        # kept - swapped = 2 kept - all
        out[:, start:stop] = gaps_of(2 * (shifts_XG @ bits_RG.T).astype(np.float64) - all_X[:, None])
    return out


def _gaps(
    metric: Metric, seeds: Sequence[int], middle_AF: Array, half_AFG: Array
) -> tuple[Array, Callable[[Array], Array]]:
    """What moves with each group (X, G), and a function of its signed sums (X, R) to differences (P, R).

    The two systems' totals are the middle plus, and minus, half of what they differ by.
    """
    moves_F = half_AFG.any(axis=(0, 2))  # gold labels and counts don't
    first = np.cumsum([0, *seeds[:-1]])
    arrays, _, groups = half_AFG.shape

    def gaps(shift_XR: Array) -> Array:
        shift_AFR = shift_XR.reshape(arrays, -1, shift_XR.shape[1])
        sides = np.tile(middle_AF[:, :, None], (2, 1, 1, shift_XR.shape[1]))
        sides[0][:, moves_F] += shift_AFR
        sides[1][:, moves_F] -= shift_AFR
        here, there = metric.finish(np.moveaxis(sides, 2, -1))
        averages: Array = np.add.reduceat(here - there, first, axis=0) / np.array(seeds)[:, None]
        return averages

    return half_AFG[:, moves_F].reshape(-1, groups), gaps


def _mean_gaps(
    metric: Metric, seeds: Sequence[int], middle_AF: Array, half_AFG: Array
) -> tuple[Array, Callable[[Array], Array]]:
    """`_gaps` of a mean over rows that both systems have: it is linear, so seeds are averaged before, not after."""
    if half_AFG[:, 1].any() or not middle_AF[:, 1].all():
        return _gaps(metric, seeds, middle_AF, half_AFG)
    per_seed_AG = 2 * half_AFG[:, 0] / middle_AF[:, 1:]
    first = np.cumsum([0, *seeds[:-1]])
    return np.add.reduceat(per_seed_AG, first, axis=0) / np.array(seeds)[:, None], lambda gap_PR: gap_PR


def _features(
    metric: Metric,
    units_ANK: Iterable[Array],
    group_N: NDArray[np.intp],
    groups: int,
    prepare: Callable[[Array], Array] = lambda units: units,
) -> Array:
    """The features of every array, summed within groups (A, F, G)."""
    found: dict[bytes, Array] = {}  # one baseline stands in many pairs
    summed = []
    for units in units_ANK:
        key = units.tobytes()
        if key not in found:
            columns = metric.features(prepare(units)).T
            found[key] = np.stack([np.bincount(group_N, weights=column, minlength=groups) for column in columns])
        summed.append(found[key])
    return np.stack(summed)


def _precision(table_XG: Array, groups: int) -> type[np.floating[Any]]:
    """What sums of up to `groups` of these numbers are exact in: 32 bits for counts, which are twice as fast."""
    counts = not table_XG.size or (np.abs(table_XG).max() * groups < EXACT and not (table_XG % 1).any())
    return np.float32 if counts else np.float64


def _chunks(resamples: int, width: int) -> Iterator[tuple[int, int]]:
    step = max(1, CHUNK // max(1, width))
    for start in range(0, resamples, step):
        yield start, min(start + step, resamples)


def _next(
    draw: Callable[[np.random.Generator, int, int], Drawn], draws: np.random.Generator | Drawn,
    start: int, stop: int, groups: int,
) -> Drawn:  # fmt: skip
    if isinstance(draws, np.random.Generator):
        return draw(draws, stop - start, groups)
    assert len(draws) >= stop, f"{len(draws)} resamples were drawn, and {stop} are asked for"
    return draws[start:stop]
