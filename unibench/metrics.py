"""Metrics: pure reduces of stacked unit rows, written so that resampling them is a matrix product.

Legend: `N` examples, `K` units an example, `F` features, `A` arrays of units (one per model and seed), `R` resamples.

A metric maps every unit row to features whose *totals* say everything (`finish(totals)` is the score), so a resample is
`finish(weights_RN @ features_NF)` and a swap of two systems' rows is a signed sum. Rank correlation is the exception:
under a bootstrap the ranks themselves change, so spearman also carries `reweigh`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unibench.errors import UnknownName

Array = NDArray[np.float64]

NLI_UNITS = ("gold_id", "pred_id")
NER_UNITS = ("tp", "fp", "fn")
QA_UNITS = ("exact", "f1")
STS_UNITS = ("gold", "predicted")

CACHED = 128  # resamples ranked at once: a thousand examples' ranks then stay in a core's cache
FLAT = 1e-12  # a variance below this share of its sum of squares is rounding, not spread


def _as_is(units_NK: Array) -> Array:
    return units_NK


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One score of one task family.

    `prepare` (N, K) -> (N, K) puts one model's, one seed's units on a scale that another model's rows may be swapped
    into; it never changes the score. `features` (N, K) -> (N, F) follows it, and `finish` (..., F) totals -> (...).
    `reweigh` (A, N, K), (R, N) integer weights -> (A, R) replaces totals where they aren't sufficient.
    """

    name: str
    unit_names: tuple[str, ...]
    features: Callable[[Array], Array]
    finish: Callable[[Array], Array]
    prepare: Callable[[Array], Array] = _as_is
    reweigh: Callable[[Array, Array], Array] | None = None


def score(metric: str, units: Array) -> float:
    """Returns the score, in 0..1 (correlations: -1..1), of stacked units (N, K).

    nan for no examples, for nan predictions, and for a correlation with a constant; 0 where a ratio of span counts is
    undefined, which is seqeval's convention. Raises UnknownName for a metric that is not in METRICS.
    """
    found = lookup(metric)
    rows = np.asarray(units, dtype=np.float64).reshape(-1, len(found.unit_names))
    return float(found.finish(found.features(found.prepare(rows)).sum(axis=0))) if len(rows) else float("nan")


def lookup(metric: str) -> Metric:
    """Returns the metric of this name; raises UnknownName, with a suggestion, when there is none."""
    if metric not in METRICS:
        raise UnknownName("metric", metric, METRICS, "unibench.metrics")
    return METRICS[metric]


def floor(metric: str, units: Array) -> float:
    """Returns the score of knowing nothing but the answers' frequencies.

    For labels, the score of always answering the majority class of these gold labels (its accuracy, or macro F1).
    0 for the other families: their floor is what an untrained encoder scores, which units alone cannot tell.
    """
    rows = np.asarray(units, dtype=np.float64)
    if lookup(metric).unit_names != NLI_UNITS or not len(rows):
        return 0.0
    classes, counts = np.unique(rows[:, 0], return_counts=True)
    constant = np.column_stack([rows[:, 0], np.full(len(rows), classes[np.argmax(counts)])])
    return score(metric, constant)


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


def _mean_features(column: int) -> Callable[[Array], Array]:
    return lambda units: np.column_stack([units[:, column], np.ones(len(units))])


def _mean(totals: Array) -> Array:
    return _ratio(totals[..., 0], totals[..., 1], undefined=np.nan)


def _hit_features(units: Array) -> Array:
    return np.column_stack([units[:, 0] == units[:, 1], np.ones(len(units))]).astype(np.float64)


def _class_features(units: Array) -> Array:
    """(N, 3C): for each class present in gold: is gold, is predicted, is both."""
    gold, predicted = units[:, :1], units[:, 1:2]
    classes = np.unique(gold)
    is_gold, is_predicted = gold == classes, predicted == classes
    return np.stack([is_gold, is_predicted, is_gold & is_predicted], axis=-1).reshape(len(units), -1).astype(np.float64)


def _macro_f1(totals: Array) -> Array:
    """Unweighted mean of per-class F1 over the classes that gold has (in this resample)."""
    by_class = totals.reshape(*totals.shape[:-1], -1, 3)
    gold, predicted, both = by_class[..., 0], by_class[..., 1], by_class[..., 2]
    present = gold > 0
    f1 = _ratio(2 * both, gold + predicted, undefined=0.0)
    return _ratio((f1 * present).sum(axis=-1), present.sum(axis=-1), undefined=np.nan)


def _span_features(units: Array) -> Array:
    # the count tells "no spans" (0) from "no sentences" (nan)
    return np.column_stack([units, np.ones(len(units))])


def _spans(wrong: tuple[int, ...], weight: float) -> Callable[[Array], Array]:
    """tp / (tp + weight * the wrong ones)."""

    def finish(totals: Array) -> Array:
        correct = totals[..., 0]
        ratio = _ratio(correct, correct + weight * sum(totals[..., i] for i in wrong), undefined=0.0)
        return np.where(totals[..., 3] > 0, ratio, np.nan)

    return finish


def _moments(units: Array) -> Array:
    """(N, 6): 1, x, y, x², y², xy about the columns' means; correlation ignores the shift, rounding doesn't."""
    x, y = (units - units.mean(axis=0)).T
    return np.column_stack([np.ones(len(units)), x, y, x * x, y * y, x * y])


def _correlation(totals: Array) -> Array:
    count, x, y, xx, yy, xy = (totals[..., i] for i in range(6))
    safe = np.where(count > 0, count, 1.0)
    spread_x, spread_y = xx - x * x / safe, yy - y * y / safe
    defined = (count > 0) & (spread_x > FLAT * xx) & (spread_y > FLAT * yy)
    root = np.sqrt(np.where(defined, spread_x, 1.0) * np.where(defined, spread_y, 1.0))
    return np.where(defined, np.clip((xy - x * y / safe) / root, -1.0, 1.0), np.nan)


def _standardise(units: Array) -> Array:
    """Models score on different scales; swapping raw predictions would test the scales, and lose nearly all power."""
    centred = units - units.mean(axis=0)
    spread = np.sqrt((centred**2).mean(axis=0))
    flat = spread <= FLAT * np.abs(units).max(axis=0, initial=0.0)
    return np.where(flat, 0.0, centred / np.where(flat, 1.0, spread))


def _rank(units: Array) -> Array:
    ranks = np.column_stack([midranks(units[:, 0]), midranks(units[:, 1])])
    return (ranks - (len(units) + 1) / 2) / max(len(units), 1)


def _reweighed_spearman(units_ANK: Array, weights_RN: Array) -> Array:
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


METRICS: dict[str, Metric] = {
    "accuracy": Metric(name="accuracy", unit_names=NLI_UNITS, features=_hit_features, finish=_mean),
    "macro_f1": Metric(name="macro_f1", unit_names=NLI_UNITS, features=_class_features, finish=_macro_f1),
    "span_f1": Metric(name="span_f1", unit_names=NER_UNITS, features=_span_features, finish=_spans((1, 2), 0.5)),
    "precision": Metric(name="precision", unit_names=NER_UNITS, features=_span_features, finish=_spans((1,), 1.0)),
    "recall": Metric(name="recall", unit_names=NER_UNITS, features=_span_features, finish=_spans((2,), 1.0)),
    "exact_match": Metric(name="exact_match", unit_names=QA_UNITS, features=_mean_features(0), finish=_mean),
    "token_f1": Metric(name="token_f1", unit_names=QA_UNITS, features=_mean_features(1), finish=_mean),
    "spearman": Metric(
        name="spearman",
        unit_names=STS_UNITS,
        features=_moments,
        finish=_correlation,
        prepare=_rank,
        reweigh=_reweighed_spearman,
    ),
    "pearson": Metric(
        name="pearson", unit_names=STS_UNITS, features=_moments, finish=_correlation, prepare=_standardise
    ),
}

FAMILY_METRICS: dict[str, tuple[str, ...]] = {
    "nli": ("accuracy", "macro_f1"),
    "ner": ("span_f1", "precision", "recall"),
    "qa": ("exact_match", "token_f1"),
    "sts": ("spearman", "pearson"),
}
