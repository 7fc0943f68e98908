"""What resampled values say: the p-value of swaps, and intervals from bootstrap samples.

Legend: `R` resamples, `G` groups.
"""

from __future__ import annotations

from statistics import NormalDist

import numpy as np

from unibench.metrics import Array

TIE = 1e-10  # differences of scores nearer than this are equal: rounding is ~1e-13, and calling ties errs upwards


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


def near_edge(p: float, alpha: float, resamples: int, level: float = 0.99) -> bool:
    """Returns whether so many resamples leave open on which side of `alpha` a p of theirs lies: more should be drawn.

    `p` is what `p_value` said, `alpha` what it is held against (a family's share of it, where there is one): inside the
    interval of Clopper & Pearson 1934 at `level`, it is open. False for nan.
    """
    from scipy.special import betaincinv

    if np.isnan(p):
        return False
    count = round(p * (resamples + 1)) - 1
    low = betaincinv(count, resamples - count + 1, (1 - level) / 2) if count > 0 else 0.0
    high = betaincinv(count + 1, resamples - count, (1 + level) / 2) if count < resamples else 1.0
    return bool(low <= alpha <= high)


def interval(samples: Array, level: float = 0.95) -> tuple[float, float]:
    """Returns the percentile interval of bootstrap samples (R,).

    Undefined samples are left out; when they are more than 1 in 20, (nan, nan).
    Source: Efron & Tibshirani 1993, ch. 13.
    """
    defined = _defined(samples)
    if not len(defined):
        return float("nan"), float("nan")
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def bca(observed: float, samples: Array, jackknife: Array, level: float = 0.95) -> tuple[float, float]:
    """Returns the bias-corrected and accelerated interval of bootstrap samples (R,), from the jackknife's values (G,).

    For a difference of systems both are differences, sample by sample and group by group. Undefined values are left
    out; when they are more than 1 in 20, (nan, nan). Samples that are all equal are the interval. (nan, nan) too where
    the correction has no value: the observed score lies outside all samples, the jackknife's values are all equal, or
    the acceleration is so strong that a limit lies beyond infinity.
    Source: Efron 1987.
    """
    nothing = float("nan"), float("nan")
    defined, without = _defined(samples), _defined(jackknife)
    if not len(defined) or not len(without) or np.isnan(observed):
        return nothing
    if np.ptp(defined) <= TIE:
        return float(defined[0]), float(defined[0])
    below, upto = np.mean(defined < observed - TIE), np.mean(defined <= observed + TIE)
    gaps = without.mean() - without
    if not 0 < below + upto < 2 or np.ptp(without) <= TIE:
        return nothing
    normal = NormalDist()
    bias = normal.inv_cdf(float(below + upto) / 2)
    acceleration = float((gaps**3).sum() / (6 * (gaps**2).sum() ** 1.5))
    limits = []
    for share in ((1 - level) / 2, (1 + level) / 2):
        z = bias + normal.inv_cdf(share)
        if acceleration * z >= 1:
            return nothing
        limits.append(normal.cdf(bias + z / (1 - acceleration * z)))
    low, high = np.quantile(defined, limits)
    return float(low), float(high)


def _defined(values: Array) -> Array:
    """The values that are; none of them when more than 1 in 20 is not."""
    defined = values[~np.isnan(values)]
    return defined if len(defined) >= 0.95 * len(values) else defined[:0]
