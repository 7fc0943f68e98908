"""The arithmetic of metrics: features of unit rows, and the score that their totals give.

Legend: `N` examples, `K` units an example, `A` arrays of units (one per model and seed), `R` resamples.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

CACHED = 128  # resamples ranked at once: a thousand examples' ranks then stay in a core's cache
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
    below = _running_sum(tied)
    spread: Array = (below[-1] ** 3 - np.einsum("nr,nr,nr->r", tied, tied, tied)) / 12
    below -= tied / 2
    below += 0.5
    place = np.empty(len(values), dtype=np.intp)
    place[order] = np.cumsum(np.r_[False, ascending[1:] != ascending[:-1]])
    return below[place], spread


def _running_sum(values_NR: Array) -> Array:
    """np.cumsum(values, axis=0), eight times faster: numpy walks that axis one number at a time.

    About sqrt(N) blocks of sqrt(N) rows are summed side by side, then strung together.
    """
    rows, resamples = values_NR.shape
    block = int(np.ceil(np.sqrt(rows)))
    out = np.zeros((-(-rows // block) * block, resamples))
    out[:rows] = values_NR
    blocks = out.reshape(-1, block, resamples)
    for i in range(1, block):
        blocks[:, i] += blocks[:, i - 1]
    for k in range(1, len(blocks)):
        blocks[k] += blocks[k - 1, -1]
    return out[:rows]


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
    by_class = totals.reshape(*totals.shape[:-1], -1, 3)
    gold, predicted, both = by_class[..., 0], by_class[..., 1], by_class[..., 2]
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
    """Spearman (A, R) of every resample, ranked anew: Pearson of the weighted midranks."""
    out = np.full((len(units_ANK), len(weights_RN)), np.nan)
    for start in range(0, len(weights_RN), CACHED):
        weights_NR = np.ascontiguousarray(weights_RN[start : start + CACHED].T)
        middle = (weights_NR.sum(axis=0) + 1) / 2
        gold: Array | None = None
        for a, units in enumerate(units_ANK):
            if np.isnan(units).any():
                continue
            if gold is None or not np.array_equal(units[:, 0], gold):  # models share their gold: rank it once
                gold = units[:, 0]
                x, spread_x = weighted_midranks(gold, weights_NR)
                x = (x - middle) * weights_NR
            y, spread_y = weighted_midranks(units[:, 1], weights_NR)
            # midranks are halves of integers: a spread is 0, or at least 1/2, never rounding
            defined = (spread_x > 0.1) & (spread_y > 0.1)
            root = np.sqrt(np.where(defined, spread_x * spread_y, 1.0))
            # x sums to 0, so y needs no centring
            value = np.clip(np.einsum("nr,nr->r", x, y) / root, -1.0, 1.0)
            out[a, start : start + CACHED] = np.where(defined, value, np.nan)
    return out
