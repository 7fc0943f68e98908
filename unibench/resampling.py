"""Resampling whole groups of examples: bootstrap weights, paired swaps, and the p-value of what they show.

Legend: `A` arrays of units (one per model and seed), `S` seeds, `P` pairs of systems, `N` examples, `K` units,
`F` features, `G` groups, `R` resamples.

Cells that must be resampled jointly (translations of one test set) are given Generators seeded alike and the same `G`:
then they meet the same draws, whatever else is in the table, and an average over them keeps their dependence.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from unibench.metrics import Array, Metric

CHUNK = 2_000_000  # draws held at once: 16 MB an array, a handful of arrays
TIE = 1e-10  # differences of scores nearer than this are equal: rounding is ~1e-13, and calling ties errs upwards


def generator(*signature: str) -> np.random.Generator:
    """Returns a Generator seeded from the sha256 of a signature, so that adding another signature moves no number."""
    digest = hashlib.sha256("\n".join(signature).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest, "big"))


def group_index(groups: Sequence[str], universe: Sequence[str]) -> NDArray[np.intp]:
    """Returns each row's place (N,) among the groups of `universe`, which holds every one of them."""
    place = {group: i for i, group in enumerate(universe)}
    return np.array([place[group] for group in groups], dtype=np.intp)


def bootstrap(
    metric: Metric, units_ANK: Array, group_N: NDArray[np.intp], groups: int, resamples: int, rng: np.random.Generator
) -> Array:
    """Returns the score (A, R) of every array of units in every bootstrap sample of groups.

    Each sample draws `groups` groups with replacement, the same ones for all arrays; a group brings all its rows.
    nan where a sample leaves the score undefined. Source: Efron & Tibshirani 1993, the cluster ("block") bootstrap.
    """
    out = np.full((len(units_ANK), resamples), np.nan)
    if not groups or not units_ANK.size:
        return out
    if metric.reweigh is None:
        per_group_AGF = np.stack([_group_features(metric, units, group_N, groups) for units in units_ANK])
        table_GX = per_group_AGF.transpose(1, 0, 2).reshape(groups, -1)
    # an uneven row count per group makes the row axis the wide one
    for start, stop in _chunks(resamples, max(groups, len(group_N))):
        weights_RG = _weights(rng, stop - start, groups)
        if metric.reweigh is not None:
            out[:, start:stop] = metric.reweigh(units_ANK, weights_RG[:, group_N])
        else:
            totals = (weights_RG @ table_GX).reshape(stop - start, len(units_ANK), -1)
            out[:, start:stop] = metric.finish(totals).T
    return out


def swap(
    metric: Metric,
    pairs: Sequence[tuple[Array, Array]],
    group_N: NDArray[np.intp],
    groups: int,
    resamples: int,
    rng: np.random.Generator,
) -> Array:
    """Returns the differences (P, R) of seed-averaged scores after swapping whole groups between two systems.

    Each pair is (system, baseline), two (S, N, K) arrays over the same seeds and rows; a group's rows change sides
    together, in all seeds at once, with probability 1/2, and every pair meets the same swaps. Units pass through
    `metric.prepare` within system and seed first. Inputs aren't mutated.
    Source: the approximate randomisation test of Noreen 1989, with groups as units.
    """
    out = np.full((len(pairs), resamples), np.nan)
    if not groups or not pairs:
        return out
    middles, halves_GX = [], []
    for system, baseline in pairs:
        ours = np.stack([_group_features(metric, metric.prepare(units), group_N, groups) for units in system])
        theirs = np.stack([_group_features(metric, metric.prepare(units), group_N, groups) for units in baseline])
        middles.append((ours + theirs).sum(axis=1) / 2)
        halves_GX.append(((ours - theirs) / 2).transpose(1, 0, 2).reshape(groups, -1))
    table_GX = np.concatenate(halves_GX, axis=1)
    edges = np.cumsum([0] + [half.shape[1] for half in halves_GX])
    for start, stop in _chunks(resamples, groups):
        # kept - swapped = 2 kept - all: the draws can stay bits until they are multiplied
        moved = 2.0 * (_bits(rng, stop - start, groups) @ table_GX) - table_GX.sum(axis=0)
        for p, middle_SF in enumerate(middles):
            shift = moved[:, edges[p] : edges[p + 1]].reshape(stop - start, *middle_SF.shape)
            gaps = metric.finish(middle_SF + shift) - metric.finish(middle_SF - shift)
            out[p, start:stop] = gaps.mean(axis=1)
    return out


def p_value(observed: float, resampled: Array) -> float:
    """Returns the two-sided p (c + 1) / (R + 1): how often a difference at least as large comes from swapping alone.

    The observed labelling counts as one of the resamples, so p is never 0 and never too small on average (Phipson &
    Smyth 2010). Differences equal but for rounding are ties and count; so do undefined ones, which errs upwards.
    nan when the observed difference is.
    """
    if np.isnan(observed):
        return float("nan")
    smaller = np.abs(resampled) < abs(observed) - TIE
    return float((len(resampled) - np.count_nonzero(smaller) + 1) / (len(resampled) + 1))


def interval(samples: Array, level: float = 0.95) -> tuple[float, float]:
    """Returns the percentile interval of bootstrap samples (R,).

    Undefined samples are left out; when they are more than 1 in 20, (nan, nan).
    Source: Efron & Tibshirani 1993, ch. 13.
    """
    defined = samples[~np.isnan(samples)]
    if not len(defined) or len(defined) < 0.95 * len(samples):
        return float("nan"), float("nan")
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _group_features(metric: Metric, units_NK: Array, group_N: NDArray[np.intp], groups: int) -> Array:
    features_NF = metric.features(units_NK)
    out_GF = np.zeros((groups, features_NF.shape[1]))
    np.add.at(out_GF, group_N, features_NF)
    return out_GF


def _chunks(resamples: int, width: int) -> Iterator[tuple[int, int]]:
    step = max(1, CHUNK // max(1, width))
    for start in range(0, resamples, step):
        yield start, min(start + step, resamples)


def _weights(rng: np.random.Generator, rows: int, groups: int) -> Array:
    """How often each group is drawn (rows, groups), multinomial: every row sums to `groups`."""
    out = np.empty((rows, groups))
    for row, drawn in zip(out, rng.integers(0, groups, size=(rows, groups)), strict=True):
        row[:] = np.bincount(drawn, minlength=groups)
    return out


def _bits(rng: np.random.Generator, rows: int, groups: int) -> Array:
    """Fair coins (rows, groups), 0 or 1; whole words a row, so that chunks of rows draw what all rows would."""
    words = rng.integers(0, 2**64, size=(rows, -(-groups // 64)), dtype=np.uint64)
    return np.unpackbits(words.astype("<u8").view(np.uint8), axis=1, count=groups).astype(np.float64)
