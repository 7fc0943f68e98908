"""Are two models equivalent within a margin? "No difference found" isn't an answer; two one-sided tests are.

It claims what its draws claim: those of a bootstrap over examples say "these trained models, on new examples". And a
margin chosen after looking claims nothing.

Legend: `R` resamples.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from unibench.errors import UserError
from unibench.metrics import Array
from unibench.stats.samples import TIE

NAN = float("nan")

Verdict = Literal["equivalent", "different", "not known"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Equivalence:
    """Whether a difference lies within (-margin, margin), as far as these draws can say.

    "equivalent": p <= alpha, and the interval lies inside the margin; "different": the interval lies outside, so the
    difference exceeds the margin; "not known": it does neither. `low`, `high` bound the difference at `level` =
    1 - 2 alpha. `least_margin` is the smallest margin they would be equivalent within, chosen after looking.
    `smallest_p` is the least p that `resamples` draws can reach. `n` groups of examples were drawn from, where told.
    Where `withheld` gives a reason, the numbers are nan.
    """

    observed: float
    p: float = NAN
    low: float = NAN
    high: float = NAN
    level: float
    margin: float
    least_margin: float = NAN
    verdict: Verdict = "not known"
    resamples: int
    smallest_p: float
    n: int | None
    test: str = "two one-sided bootstrap tests (TOST), shifted draws"
    withheld: str = ""


def tost(observed: float, draws: Array, margin: float, alpha: float = 0.05, *, n: int | None = None) -> Equivalence:
    """Returns the equivalence of two systems within `margin`, from their difference and its bootstrap draws (R,).

    All in the same units; scores are 0..1, so a margin of one point is 0.01. Each side is tested by shifting the draws
    until they centre on that edge of the margin, and p is the larger of the two, each (c + 1) / (R + 1): of the draws
    around -margin, c are at least as high as what was observed; of those around margin, at most as high. Undefined
    draws count, which errs upwards; more than 1 in 20, and nothing is said. The interval mirrors the draws about what
    was observed (the "basic" bootstrap) and counts them in the same way, so it lies inside the margin exactly if
    p <= alpha. A report's percentile interval may differ a little where the draws are skewed.
    Draws that are all 0 are a system against itself, equivalent within any margin. With `n`, the number of groups of
    examples, they are two systems that didn't differ in any of n: where they do in a share `margin` of all there are,
    that happens with probability (1 - margin)^n, and p is no smaller (exact for accuracy, a guide for other metrics).
    Raises UserError for a margin that isn't positive or an alpha outside (0, 0.5).
    Sources: Schuirmann 1987 (the two tests); Efron & Tibshirani 1993, ch. 16 (shifting); Davison & Hinkley 1997, ch. 5;
    Hanley & Lippman-Hand 1983 (none of n).
    """
    if not (margin > 0 and math.isfinite(margin)):
        raise UserError(f"margin={margin}; equivalence takes a margin above 0, 0.01 for one point")
    if not 0 < alpha < 0.5:
        raise UserError(f"alpha={alpha}; it lies between 0 and 0.5")
    draws = np.asarray(draws, dtype=np.float64)
    resamples, undefined = len(draws), int(np.isnan(draws).sum())
    smallest_p = 1 / (resamples + 1)
    kept = math.floor(alpha * (resamples + 1) + 1e-9)  # p <= alpha exactly if fewer draws than this are beyond
    blank = Equivalence(
        observed=observed, level=1 - 2 * alpha, margin=margin, resamples=resamples, smallest_p=smallest_p, n=n
    )
    reason = ""
    if math.isnan(observed):
        reason = "the difference is undefined"
    elif kept < 1:
        reason = f"{resamples} resamples allow no p under {smallest_p:.2g}; it takes {alpha:.2g}"
    elif undefined > 0.05 * resamples:
        reason = f"{undefined} of {resamples} resamples leave the score undefined"
    elif not undefined and np.ptp(draws) <= TIE and abs(observed) > TIE:
        reason = "every resample is the same, so nothing says how far chance goes"
    if reason:
        return replace(blank, withheld=reason)
    # an undefined draw is beyond either edge
    lowest = np.sort(np.where(np.isnan(draws), -np.inf, draws))
    highest = np.sort(np.where(np.isnan(draws), np.inf, draws))[::-1]
    low, high = float(2 * observed - highest[kept - 1]), float(2 * observed - lowest[kept - 1])
    beyond = max(
        np.count_nonzero(2 * observed - highest <= TIE - margin),
        np.count_nonzero(2 * observed - lowest >= margin - TIE),
    )
    p = (int(beyond) + 1) / (resamples + 1)
    if n is not None and not undefined and np.ptp(draws) <= TIE:
        unseen = 1.0 - alpha ** (1 / n) if n else math.inf
        low, high, p = -unseen, unseen, max(p, (1.0 - min(margin, 1.0)) ** n)
    verdict: Verdict = "not known"
    if p <= alpha:
        verdict = "equivalent"
    elif high < -margin or low > margin:
        verdict = "different"
    return replace(blank, p=p, low=low, high=high, least_margin=max(abs(low), abs(high)), verdict=verdict)
