"""Small statistics: improvement, averages, corrections for many tests, and what a set of p-values allows to say.

Pure functions of arrays; what draws random numbers lives in `resampling`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np

from unibench.metrics import Array, midranks

Value = TypeVar("Value", float, Array)


def relative_improvement(score: Value, reference: Value) -> Value:
    """Returns (score - reference) / |reference|, elementwise; nan where the reference is 0.

    A fraction: 0.05 is 5 % better. It explodes near a reference of 0, so `eligible` decides which cells may enter.
    """
    score_, reference_ = np.asarray(score, dtype=np.float64), np.asarray(reference, dtype=np.float64)
    gap = score_ - reference_
    out = np.divide(gap, np.abs(reference_), out=np.full(gap.shape, np.nan), where=reference_ != 0)
    return float(out) if out.ndim == 0 else out  # type: ignore[return-value]


def eligible(reference_low: float, floor: float, margin: float = 0.05) -> bool:
    """Returns whether a cell may enter a relative improvement: its reference's lower confidence bound must exceed the
    floor by `margin`. A fixed property of the cell, so every model and every resample average over the same cells."""
    return bool(reference_low > floor + margin)  # nan compares false: an unknown reference is not eligible


def macro_mean(cells: Mapping[tuple[str, str], Value]) -> Value:
    """Returns the mean over languages within each task, then over tasks, of values keyed (task, language).

    Values are floats or (R,) arrays. nan for no cells; a nan cell makes the mean nan, for dropping it would let a model
    profit from a cell it failed.
    """
    tasks: dict[str, list[Value]] = {}
    for (task, _), value in cells.items():
        tasks.setdefault(task, []).append(value)
    if not tasks:
        return float("nan")  # type: ignore[return-value]
    out = np.mean([np.mean(values, axis=0) for values in tasks.values()], axis=0)
    return float(out) if np.ndim(out) == 0 else out  # type: ignore[return-value]


def bonferroni(p: Sequence[float]) -> list[float]:
    """Returns p-values adjusted for the family they form (family-wise error); nan stays nan and isn't in the family."""
    return _adjust(p, lambda ordered: ordered * len(ordered))


def holm(p: Sequence[float]) -> list[float]:
    """Returns step-down adjusted p-values (family-wise error, any dependence); nan isn't in the family. Holm 1979."""
    return _adjust(p, lambda ordered: np.maximum.accumulate(ordered * np.arange(len(ordered), 0, -1)))


def benjamini_hochberg(p: Sequence[float]) -> list[float]:
    """Returns adjusted p-values (false discovery rate, positively dependent tests). Benjamini & Hochberg 1995."""

    def step_up(ordered: Array) -> Array:
        scaled = ordered * len(ordered) / np.arange(1, len(ordered) + 1)
        return np.minimum.accumulate(scaled[::-1])[::-1]

    return _adjust(p, step_up)


def k_hat(p: Sequence[float], alpha: float = 0.05, method: Literal["bonferroni", "fisher"] = "bonferroni") -> int:
    """Returns in how many data sets, at least, the alternative holds, with confidence 1 - alpha.

    `p` are one-sided. Bonferroni's form holds under any dependence; Fisher's needs independent data sets, which
    languages that share one fine-tuning are not.
    Source: Dror et al. 2017, after the partial conjunction of Benjamini & Heller 2008.
    """
    ordered = np.sort(np.array([x for x in p if not np.isnan(x)], dtype=np.float64))
    n = len(ordered)
    if not n:
        return 0
    if method == "bonferroni":
        partial = np.minimum(1.0, ordered * np.arange(n, 0, -1))
    else:
        from scipy.special import gammaincc  # slow to import, seldom needed

        half_chi2 = -np.cumsum(np.log(np.maximum(ordered, 1e-300))[::-1])[::-1]  # of the n - u + 1 largest
        partial = gammaincc(np.arange(n, 0, -1), half_chi2)
    return int(np.count_nonzero(np.maximum.accumulate(partial) <= alpha))


def one_sided(p: float, delta: float) -> float:
    """Returns the p-value of "better" from a two-sided one whose null distribution is symmetric, as every swap's is."""
    return p / 2 if delta > 0 else 1 - p / 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Wilcoxon:
    """A signed-rank test over cells: descriptive, for cells that share a fine-tuning aren't independent.

    `n` counts the differences that aren't 0; `smallest_p` is the least p that n differences can reach at all.
    """

    n: int
    p: float
    smallest_p: float


def wilcoxon(deltas: Sequence[float]) -> Wilcoxon:
    """Returns the exact two-sided signed-rank test of per-cell differences; zeros and nan are left out.

    Exact also under ties: by counting the sums of signed midranks. Source: Wilcoxon 1945; Pratt & Gibbons 1981.
    """
    kept = np.array([d for d in deltas if not np.isnan(d) and d != 0], dtype=np.float64)
    n = len(kept)
    if n == 0:
        return Wilcoxon(n=0, p=float("nan"), smallest_p=1.0)
    doubled = np.round(2 * midranks(np.abs(kept))).astype(np.int64)
    ways = np.zeros(int(doubled.sum()) + 1)
    ways[0] = 1.0
    for rank in doubled:  # a half each step keeps the counts probabilities, so they can't overflow
        shifted = np.zeros_like(ways)
        shifted[rank:] = ways[: len(ways) - rank]
        ways = (ways + shifted) / 2
    positive = int(doubled[kept > 0].sum())
    tail = min(ways[: positive + 1].sum(), ways[positive:].sum())
    return Wilcoxon(n=n, p=float(min(1.0, 2 * tail)), smallest_p=float(min(1.0, 2.0 ** (1 - n))))


def resamples_for(family: int, wanted: int = 10_000) -> int:
    """Returns how many resamples a family of tests needs: at least 40 each, else no adjusted p could be small.

    In steps of 10,000 above `wanted`, so that one more test seldom changes the resamples of the others.
    """
    needed = 40 * family
    return wanted if needed <= wanted else -(-needed // 10_000) * 10_000


def _adjust(p: Sequence[float], rule: Callable[[Array], Array]) -> list[float]:
    values = np.array(p, dtype=np.float64)
    out = np.full(values.shape, np.nan)
    tested = np.flatnonzero(~np.isnan(values))
    order = tested[np.argsort(values[tested], kind="stable")]
    out[order] = np.minimum(1.0, rule(values[order]))
    return [float(x) for x in out]
