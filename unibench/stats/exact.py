"""McNemar's exact test of two systems' hits and misses on the same examples.

Legend: `N` examples, `K` units an example.

It claims what the permutation of examples claims, these trained models on new examples, without drawing: for one seed,
one example a group and a mean of hits and misses, and nothing else, swapping sides is tossing a coin for each example
on which the two disagree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from unibench import metrics
from unibench.metrics import Array

HITS = ("accuracy", "exact_match")  # metrics that are means of 0 and 1, whole or in part
TEST = "McNemar, exact, two-sided"


@dataclass(frozen=True, slots=True, kw_only=True)
class McNemar:
    """Of `n` examples, those that one system alone got right, and the two-sided p of their split.

    `smallest_p` is the least p that so many disagreements can reach. Where there is no example, p is nan and `reason`
    says so; without disagreement p is 1.
    """

    n: int
    only_ours: int
    only_theirs: int
    p: float
    smallest_p: float
    test: str = TEST
    reason: str = ""


def applies(metric: str, groups: Sequence[str], seeds: Sequence[int]) -> str:
    """Returns why the exact test is not valid for this metric, these rows' groups and these seeds; "" where it is."""
    if metric.partition(":")[0] not in HITS:
        return f"{metric} is not a mean of hits and misses, as {' and '.join(HITS)} are"
    if len(seeds) != 1:
        return f"{len(seeds)} seeds are averaged, and the test takes one"
    if len(set(groups)) != len(groups):
        return f"{len(groups)} examples form {len(set(groups))} groups, and the test takes examples that stand alone"
    return ""


def hits(metric: str, units_NK: Array) -> Array:
    """Returns 1 for every example that was answered rightly and 0 for every other; of a part, for its examples.

    Raises ValueError for a metric of which `applies` says that it is no mean of hits and misses.
    """
    reason = applies(metric, (), (0,))
    if reason:
        raise ValueError(reason)
    right_N, counted_N = metrics.lookup(metric).features(np.asarray(units_NK, dtype=np.float64)).T
    found: Array = right_N[counted_N == 1]
    return found


def mcnemar(ours_right_N: Array, theirs_right_N: Array) -> McNemar:
    """Returns the exact test of two systems' hits (1, True) and misses (0, False) on the same examples (N,).

    Raises ValueError for other values, or another number of them. Source: McNemar 1947, with the binomial distribution
    in place of its approximation, p being twice the smaller tail.
    """
    from scipy.special import bdtr

    ours, theirs = np.asarray(ours_right_N, dtype=np.float64), np.asarray(theirs_right_N, dtype=np.float64)
    if ours.shape != theirs.shape or ours.ndim != 1 or not np.isin([ours, theirs], (0, 1)).all():
        raise ValueError(
            f"hits of shapes {ours.shape} and {theirs.shape}, expected 0 or 1 for each of the same examples; "
            "give both systems' through hits()"
        )
    only_ours = int(np.count_nonzero(ours > theirs))
    only_theirs = int(np.count_nonzero(ours < theirs))
    apart = only_ours + only_theirs
    return McNemar(
        n=len(ours),
        only_ours=only_ours,
        only_theirs=only_theirs,
        p=min(1.0, 2 * float(bdtr(min(only_ours, only_theirs), apart, 0.5))) if len(ours) else float("nan"),
        smallest_p=min(1.0, 2.0 ** (1 - apart)),
        reason="" if len(ours) else "no examples",
    )
