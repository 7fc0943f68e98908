"""Tests of differences over cells: a description, for cells that share a fine-tuning are not independent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from unibench.metrics import Array, midranks

NAN = float("nan")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wilcoxon:
    """A signed-rank test over cells: descriptive, for cells that share a fine-tuning aren't independent.

    `n` counts the differences that aren't 0; `smallest_p` is the least p that n differences can reach at all. `p` is
    nan where `reason` says why.
    """

    n: int
    p: float
    smallest_p: float
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedT:
    """A paired t-test over cells: descriptive, for cells that share a fine-tuning aren't independent.

    `n` counts the differences, zeros too; `low` and `high` bound their mean at `level`. `smallest_p` is 0 from 2
    differences on: the test has no floor, because it takes their distribution to be normal, which few can't show.
    `p`, `low` and `high` are nan where `reason` says why.
    """

    n: int
    mean: float
    low: float
    high: float
    p: float
    smallest_p: float
    level: float
    reason: str = ""


def wilcoxon(deltas: Sequence[float]) -> Wilcoxon:
    """Returns the exact two-sided signed-rank test of per-cell differences; zeros and nan are left out.

    Exact also under ties: by counting the sums of signed midranks. Source: Wilcoxon 1945; Pratt & Gibbons 1981.
    """
    kept = _known(deltas)
    kept = kept[kept != 0]
    n = len(kept)
    if n == 0:
        return Wilcoxon(n=0, p=NAN, smallest_p=1.0, reason="no cell differs")
    doubled = np.round(2 * midranks(np.abs(kept))).astype(np.int64)
    ways = np.zeros(int(doubled.sum()) + 1)
    ways[0] = 1.0
    for rank in doubled:  # a half each step keeps the counts probabilities, so they can't overflow
        shifted = np.zeros_like(ways)
        shifted[rank:] = ways[: len(ways) - rank]
        ways = (ways + shifted) / 2
    positive = int(doubled[kept > 0].sum())
    tail = min(ways[: positive + 1].sum(), ways[positive:].sum())
    return Wilcoxon(n=n, p=float(min(1.0, 2 * tail)), smallest_p=_floor(n))


def paired_t(deltas: Sequence[float], level: float = 0.95) -> PairedT:
    """Returns the two-sided t-test that per-cell differences are 0 on average, and the interval of their mean.

    nan are left out, zeros are not. p is 1 where all are 0; it is withheld below 2 differences, and where all are the
    same but not 0: without a spread there is nothing to measure the mean against. Source: Student 1908.
    """
    kept = _known(deltas)
    n = len(kept)
    mean = float(kept.mean()) if n else NAN
    if n < 2:
        reason = "one difference has no spread" if n else "no cell has a difference"
        return PairedT(n=n, mean=mean, low=NAN, high=NAN, p=NAN, smallest_p=1.0, level=level, reason=reason)
    if not np.ptp(kept):
        same = "" if mean == 0 else f"all {n} differences are the same, so they have no spread"
        p, bound = (1.0, 0.0) if mean == 0 else (NAN, NAN)
        return PairedT(n=n, mean=mean, low=bound, high=bound, p=p, smallest_p=0.0, level=level, reason=same)

    from scipy import stats  # slow to import

    found = stats.ttest_1samp(kept, 0.0)
    low, high = found.confidence_interval(level)
    return PairedT(n=n, mean=mean, low=float(low), high=float(high), p=float(found.pvalue), smallest_p=0.0, level=level)


def floor_note(n: int, *, noun: str = "task", alpha: float = 0.05) -> str:
    """Returns a sentence that n differences are too few to be significant, whatever they are; "" where they are enough.

    `noun` is what is counted, in the singular.
    """
    if _floor(n) <= alpha:
        return ""
    counted = f"{n} {noun}" if n == 1 else f"{n or 'no'} {noun}s"
    return f"{counted} cannot be significant: the smallest two-sided Wilcoxon p is {_floor(n):.3g}"


def _known(deltas: Sequence[float]) -> Array:
    """Returns the differences that aren't nan, to ten places: equal but for rounding is a tie, or 0."""
    found: Array = np.asarray(deltas, dtype=np.float64).round(10)
    return found[~np.isnan(found)]


def _floor(n: int) -> float:
    return min(1.0, 2.0 ** (1 - n))
