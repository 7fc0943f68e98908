"""What a cell's paired test could have found: so that "no difference found" isn't read as "no difference".

A plan for the next experiment and a scale for this one. It claims nothing about the models, and it is not the power
"observed" at the difference found, which only says the p again (Hoenig & Heisey 2001). The spread is that of the two
systems compared: a rival that errs more erratically has a larger one, and its difference must be larger to be found.

Legend: `R` resamples.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from unibench.errors import UserError
from unibench.metrics import Array
from unibench.stats.samples import TIE

NAN = float("nan")


@dataclass(frozen=True, slots=True, kw_only=True)
class Detectable:
    """The least true difference (0..1, either sign) that one cell's paired test finds with probability `power`.

    `spread` is the standard deviation of the difference if there is none, `alpha` what a p must not exceed (the family
    is already in it), `n` how many groups of examples were swapped, `smallest_p` the least p that they and the
    resamples allow. Where `withheld` gives a reason, `difference` is nan.
    """

    difference: float
    spread: float
    alpha: float
    power: float
    n: int
    smallest_p: float
    test: str = "normal approximation to the paired permutation of example groups, two-sided"
    withheld: str = ""


def minimum_detectable(spread: float, alpha: float = 0.05, power: float = 0.8) -> float:
    """Returns the least true difference that a two-sided test at `alpha` finds with this power; nan if spread is.

    (z of 1 - alpha / 2, plus z of power) standard deviations of the difference, in the units of `spread`: 2.80 of them
    by default. Exact for a normal difference whose spread doesn't depend on its size. Source: Bloom 1995.
    """
    return _standard_deviations(alpha, power) * spread


def needed_examples(delta: float, spread: float, n: int, alpha: float = 0.05, power: float = 0.8) -> float:
    """Returns how many examples would find a true difference `delta` with this power; inf for 0, nan if one is nan.

    `spread` was seen with `n` examples and falls with the root of their number, which holds for all metrics here if
    the new examples, and the groups they come in, are like the old ones. A whole number. Source: Bloom 1995.
    """
    if math.isnan(delta) or math.isnan(spread):
        return NAN
    if delta == 0:
        return math.inf if spread > 0 else NAN
    # rounded first: 400.00000000000006 examples are 400
    return float(math.ceil(round(n * (minimum_detectable(spread, alpha, power) / delta) ** 2, 6)))


def detectable(null_R: Array, *, groups: int, family: int = 1, alpha: float = 0.05, power: float = 0.8) -> Detectable:
    """Returns what a cell could show, from the draws of its swap null and how many groups of examples were swapped.

    `family` is how many tests the p is adjusted with: alpha / family is Holm's first and hardest step, so the answer is
    the cautious one. The spread is about 0, where the null's mean lies by symmetry. nan, with the reason, where the
    two systems never differ, a draw in twenty is undefined, or no p could be small enough.
    """
    if family < 1:
        raise UserError(f"a family of {family} tests; it takes at least 1")
    null_R = np.asarray(null_R, dtype=np.float64)
    defined = null_R[~np.isnan(null_R)]
    spread = float(np.sqrt(np.mean(defined**2))) if len(defined) else NAN
    # a swap of all groups mirrors a swap of none, and the observed labelling is one of the resamples
    smallest = max(2.0 ** (1 - groups) if groups else 1.0, 1 / (len(null_R) + 1))
    wanted = alpha / family
    difference, withheld = minimum_detectable(spread, wanted, power), ""
    if not len(defined) or len(defined) < 0.95 * len(null_R):
        withheld = f"{len(null_R) - len(defined)} of {len(null_R)} resamples leave the score undefined"
    elif spread < TIE:
        withheld = "the two systems never differ here, so nothing says how far chance goes"
    elif smallest > wanted:
        withheld = f"{groups} groups and {len(null_R)} resamples allow no p under {smallest:.2g}; it takes {wanted:.2g}"
    return Detectable(
        difference=NAN if withheld else difference, spread=spread, alpha=wanted, power=power, n=groups,
        smallest_p=smallest, withheld=withheld,
    )  # fmt: skip


def _standard_deviations(alpha: float, power: float) -> float:
    if not (0 < alpha < 1 and 0 < power < 1):
        raise UserError(f"alpha={alpha}, power={power}; both are probabilities, between 0 and 1")
    from scipy.stats import norm

    return float(norm.isf(alpha / 2) + norm.ppf(power))
