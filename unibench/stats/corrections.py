"""Corrections for many tests, and what a set of p-values allows to say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from unibench.metrics import Array


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


def resamples_for(family: int, wanted: int = 10_000, alpha: float = 0.05) -> int:
    """Returns how many resamples a family of tests needs: at least 2 / alpha each, else no adjusted p could be small.

    That is 40 at 5 %. In steps of 10,000 above `wanted`, so that one more test seldom changes the resamples of others.
    """
    needed = round(2 / alpha) * family
    return wanted if needed <= wanted else -(-needed // 10_000) * 10_000


def _adjust(p: Sequence[float], rule: Callable[[Array], Array]) -> list[float]:
    values = np.array(p, dtype=np.float64)
    out = np.full(values.shape, np.nan)
    tested = np.flatnonzero(~np.isnan(values))
    order = tested[np.argsort(values[tested], kind="stable")]
    out[order] = np.minimum(1.0, rule(values[order]))
    return [float(x) for x in out]
