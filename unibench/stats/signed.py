"""Tests of differences over cells: a description, for cells that share a fine-tuning are not independent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from unibench.metrics import midranks


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
