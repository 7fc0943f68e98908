"""The arithmetic of metrics: features of unit rows, and the score that their totals give.

Legend: `N` examples, `K` units an example, `A` arrays of units (one per model and seed), `R` resamples.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

STEP = 25_600  # numbers a step of `reweighed_spearman` handles at once: they stay in a core's cache
TABLE = 500_000  # numbers in the table it reads them from
FLAT = 1e-12  # a variance below this share of its sum of squares is rounding, not spread


def midranks(values: Array) -> Array:
    """Returns ranks from 1 (N,), ties sharing the mean of their places; all nan when a value is nan."""
    if np.isnan(values).any():
        return np.full(values.shape, np.nan)
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: Array = (np.cumsum(counts) - (counts - 1) / 2.0)[inverse]
    return ranks


def weighted_midranks(values: Array, weights_NR: Array) -> tuple[Array, Array]:
    """Returns, per resample, the midranks (N, R) in the sample that repeats row i `weights[i]` times, and their spread.

    The spread (R,) is the weighted sum of squares about the mean rank, (W³ - sum of t³) / 12 with t the sizes of ties.
    Source: Kendall 1945. Resamples are the last axis, for then every step runs along memory.
    """
    order = np.argsort(values, kind="stable")
    ascending = values[order]
    first = np.flatnonzero(np.r_[True, ascending[1:] != ascending[:-1]])
    tied = weights_NR[order]
    if len(first) < len(values):
        tied = np.add.reduceat(tied, first, axis=0)
    below = tied.copy()
    for i in range(1, len(below)):  # np.cumsum walks this axis one number at a time
        below[i] += below[i - 1]
    spread: Array = (below[-1] ** 3 - _cubes(tied)) / 12
    below -= tied / 2
    below += 0.5
    place = np.empty(len(values), dtype=np.intp)
    place[order] = np.cumsum(np.r_[False, ascending[1:] != ascending[:-1]])
    return below[place], spread


def _dot(one_NR: Array, other_NR: Array) -> Array:
    sums: Array = np.einsum("nr,nr->r", one_NR, other_NR)
    return sums


def _cubes(values_NR: Array) -> Array:
    sums: Array = np.einsum("nr,nr,nr->r", values_NR, values_NR, values_NR)
    return sums


def _ratio(above: Array, below: Array, *, undefined: float) -> Array:
    above, below = np.broadcast_arrays(np.asarray(above, dtype=np.float64), np.asarray(below, dtype=np.float64))
    out = np.full(above.shape, undefined)
    np.divide(above, below, out=out, where=below > 0)
    return out


def mean_features(column: int) -> Callable[[Array], Array]:
    return lambda units: np.column_stack([units[:, column], np.ones(len(units))])


def part_features(whole: Callable[[Array], Array], part: float) -> Callable[[Array], Array]:
    """The features of the rows whose last unit is `part`, which `whole` gives of the units before it; else zeros."""
    return lambda units: whole(units[:, :-1]) * (units[:, -1:] == part)


def mean(totals: Array) -> Array:
    """Sum / count; nan of nothing."""
    return _ratio(totals[..., 0], totals[..., 1], undefined=np.nan)


def hit_features(units: Array) -> Array:
    return np.column_stack([units[:, 0] == units[:, 1], np.ones(len(units))]).astype(np.float64)


def class_features(units: Array) -> Array:
    """(N, 3C): for each class present in gold: is gold, is predicted, is both."""
    gold, predicted = units[:, :1], units[:, 1:2]
    classes = np.unique(gold)
    is_gold, is_predicted = gold == classes, predicted == classes
    return np.stack([is_gold, is_predicted, is_gold & is_predicted], axis=-1).reshape(len(units), -1).astype(np.float64)


def macro_f1(totals: Array) -> Array:
    """Unweighted mean of per-class F1 over the classes that gold has (in this resample)."""
    gold, predicted, both = totals[..., 0::3], totals[..., 1::3], totals[..., 2::3]
    present = gold > 0
    f1 = _ratio(2 * both, gold + predicted, undefined=0.0)
    return _ratio((f1 * present).sum(axis=-1), present.sum(axis=-1), undefined=np.nan)


def span_features(units: Array) -> Array:
    """(N, 4): tp, fp, fn and 1, whose total tells "no spans" (0) from "no sentences" (nan)."""
    return np.column_stack([units, np.ones(len(units))])


def span_ratio(wrong: tuple[int, ...], weight: float) -> Callable[[Array], Array]:
    """tp / (tp + weight * the wrong ones)."""

    def finish(totals: Array) -> Array:
        correct = totals[..., 0]
        ratio = _ratio(correct, correct + weight * sum(totals[..., i] for i in wrong), undefined=0.0)
        return np.where(totals[..., 3] > 0, ratio, np.nan)

    return finish


def moments(units: Array) -> Array:
    """(N, 6): 1, x, y, x², y², xy about the columns' means; correlation ignores the shift, rounding doesn't."""
    x, y = (units - units.mean(axis=0)).T
    return np.column_stack([np.ones(len(units)), x, y, x * x, y * y, x * y])


def correlation(totals: Array) -> Array:
    count, x, y, xx, yy, xy = (totals[..., i] for i in range(6))
    safe = np.where(count > 0, count, 1.0)
    spread_x, spread_y = xx - x * x / safe, yy - y * y / safe
    defined = (count > 0) & (spread_x > FLAT * xx) & (spread_y > FLAT * yy)
    root = np.sqrt(np.where(defined, spread_x, 1.0) * np.where(defined, spread_y, 1.0))
    return np.where(defined, np.clip((xy - x * y / safe) / root, -1.0, 1.0), np.nan)


def standardise(units: Array) -> Array:
    """Models score on different scales; swapping raw predictions would test the scales, and lose nearly all power."""
    centred = units - units.mean(axis=0)
    spread = np.sqrt((centred**2).mean(axis=0))
    flat = spread <= FLAT * np.abs(units).max(axis=0, initial=0.0)
    return np.where(flat, 0.0, centred / np.where(flat, 1.0, spread))


def rank(units: Array) -> Array:
    ranks = np.column_stack([midranks(units[:, 0]), midranks(units[:, 1])])
    return (ranks - (len(units) + 1) / 2) / max(len(units), 1)


def reweighed_spearman(units_ANK: Array, weights_RN: Array) -> Array:
    """Returns Spearman (A, R) of every resample, ranked anew: Pearson of the weighted midranks.

    Weights are whole numbers, and so is all that is summed: the value is exact up to its last division.
    """
    out = np.full((len(units_ANK), len(weights_RN)), np.nan)
    known = [a for a, units in enumerate(units_ANK) if not np.isnan(units).any()]
    same_gold: dict[bytes, list[int]] = {}  # models share their gold: it is ranked once
    for a in known:
        same_gold.setdefault(units_ANK[a, :, 0].tobytes(), []).append(a)
    for arrays in same_gold.values():
        walk = _Walk.of(units_ANK[arrays, :, 1])
        step = max(16, min(STEP // len(arrays), TABLE // walk.rows))
        for start in range(0, len(weights_RN), step):
            weights_NR = np.ascontiguousarray(weights_RN[start : start + step].T, dtype=np.float64)
            x, spread_x = weighted_midranks(units_ANK[arrays[0], :, 0], weights_NR)
            centred = 2 * x - (weights_NR.sum(axis=0) + 1)  # doubled, for midranks are halves
            product, spread_y = walk.take(weights_NR, centred * weights_NR)
            # a spread is 0, or at least 1/2, never rounding
            defined = (spread_x > 0.1) & (spread_y > 0.1)
            value = product / 2 / np.sqrt(np.where(defined, spread_x * spread_y, 1.0))
            out[arrays, start : start + step] = np.where(defined, np.clip(value, -1.0, 1.0), np.nan)
    return out


@dataclass(frozen=True, slots=True, kw_only=True)
class _Walk:
    """The rows of several arrays of values in ascending order, to be summed along in all resamples at once.

    `steps` (steps, A) says which row of a table comes next in each array. The table's first N rows are the examples';
    row N is zero, for arrays that are through; each run of tied values, merged into one row, follows. `merged` holds of
    each array with ties its number, the tied examples, where each run of them starts, and where its first row stands.
    """

    steps: NDArray[np.intp]
    merged: tuple[tuple[int, NDArray[np.intp], NDArray[np.intp], int], ...]
    rows: int

    @classmethod
    def of(cls, values_AN: Array) -> _Walk:
        examples = values_AN.shape[1]
        steps, merged, rows = [], [], examples + 1
        for a, values in enumerate(values_AN):
            order = np.argsort(values, kind="stable")
            ascending = values[order]
            first = np.flatnonzero(np.r_[True, ascending[1:] != ascending[:-1]])
            sizes = np.diff(np.r_[first, examples])
            here = order[first]
            tied = sizes > 1
            if tied.any():
                here[tied] = rows + np.arange(np.count_nonzero(tied))
                starts = np.r_[0, np.cumsum(sizes[tied])[:-1]]
                merged.append((a, order[np.repeat(tied, sizes)], starts, rows))
                rows += len(starts)
            steps.append(here)
        longest = max(map(len, steps))
        padded = [np.r_[here, np.full(longest - len(here), examples)] for here in steps]
        return cls(steps=np.stack(padded, axis=1), merged=tuple(merged), rows=rows)

    def take(self, weights_NR: Array, other_NR: Array) -> tuple[Array, Array]:
        """Returns the sums (A, R) of `other` times these values' midranks, and the midranks' spreads (A, R).

        `other` holds whole numbers that sum to 0 over the examples, each at most its weight times the sum of weights.
        """
        (examples, resamples), arrays = weights_NR.shape, self.steps.shape[1]
        size = weights_NR.sum(axis=0)
        # a sum of `other` times running weights is the same when these are counted from the middle, so below size³ / 2;
        # what overflows on the way there comes back, for whole numbers wrap around
        whole = np.int32 if float(size.max()) ** 3 / 2 < 2**31 else np.float64
        table_w, table_o = np.zeros((2, self.rows, resamples), dtype=whole)
        table_w[:examples], table_o[:examples] = weights_NR, other_NR
        within = np.tile(_dot(weights_NR, other_NR), (arrays, 1))
        cubes = np.tile(_cubes(weights_NR), (arrays, 1))
        for a, tied, starts, at in self.merged:
            apart_w, apart_o = weights_NR[tied], other_NR[tied]
            joint_w, joint_o = np.add.reduceat(apart_w, starts, axis=0), np.add.reduceat(apart_o, starts, axis=0)
            table_w[at : at + len(starts)], table_o[at : at + len(starts)] = joint_w, joint_o
            within[a] += _dot(joint_w, joint_o) - _dot(apart_w, apart_o)
            cubes[a] += _cubes(joint_w) - _cubes(apart_w)
        running, total, row = np.zeros((3, arrays, resamples), dtype=whole)
        for here in self.steps:
            table_w.take(here, axis=0, out=row, mode="clip")  # the default mode would buffer `out`
            running += row
            table_o.take(here, axis=0, out=row, mode="clip")
            row *= running
            total += row
        return total - within / 2, (size**3 - cubes) / 12
