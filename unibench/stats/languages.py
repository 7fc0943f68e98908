"""Random languages: what may be expected of languages like these. Elsewhere languages are a fixed set.

What the interval claims: the mean difference over the languages that these are a sample of. Nobody draws languages at
random, so it holds as far as the ones tested are like those meant; and a single further language may lie outside it.

Legend: `L` languages, `R` resamples of example groups, `n` whatever a covariance is between (languages, training runs).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from unibench.metrics import Array

FEWEST = 10  # languages; with fewer the spread between them is a guess
NAN = float("nan")


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguageClaim:
    """The mean difference over `n` languages, and its 95 % interval were languages, and examples, drawn afresh.

    Where `withheld` says why there is none, the interval is nan.
    """

    delta: float
    low: float
    high: float
    n: int
    test: str
    withheld: str = ""


def claim(deltas: Mapping[str, float], draws_LR: Array | None = None, level: float = 0.95) -> LanguageClaim:
    """Returns the t interval of the mean of one difference a language; withheld below 10 languages.

    `draws_LR` are the differences' bootstrap draws, rows in the order of `deltas`, translations drawn jointly. The
    spread between languages already holds each language's own example noise, but not what translations of one test
    set share: that is the covariance between their draws, and is added. Bootstrapping languages with their examples
    counts the own noise twice, and is too narrow by (L - 1) / L besides.
    Coverage is near 95 % for symmetric effects; about 90 % at 10 languages of very skewed (exponential) ones.
    """
    values = np.array(list(deltas.values()), dtype=np.float64)
    n = len(values)
    delta = float(values.mean()) if n else NAN
    undefined = [language for language, value in deltas.items() if np.isnan(value)]
    joint = covariance(draws_LR) if draws_LR is not None else np.zeros((n, n))
    if joint.shape != (n, n):
        raise ValueError(f"draws of {len(joint)} languages for differences in {n}; give one row of draws a language")
    low, high, withheld = NAN, NAN, ""
    if n < FEWEST:
        withheld = f"{n} language{'' if n == 1 else 's'}: an interval over languages needs at least {FEWEST}"
    elif undefined:
        withheld = f"no difference in {', '.join(undefined)}"
    elif np.isnan(joint).any():
        withheld = "the score is undefined in more than 1 of 20 resamples of the examples"
    else:
        shared = (joint.sum() - np.trace(joint)) / (n * (n - 1))
        low, high = t_interval(delta, [(float(values.var(ddof=1)) / n, n - 1)], shared, level)
    kind = "t over random languages" + (", new examples" if draws_LR is not None else ", these examples")
    return LanguageClaim(delta=delta, low=low, high=high, n=n, test=kind, withheld=withheld)


def covariance(draws_nR: Array) -> Array:
    """Returns the covariance (n, n) over the resamples defined in all rows; nan if more than 1 in 20 are not."""
    defined = ~np.isnan(draws_nR).any(axis=0)
    if defined.mean() < 0.95 or defined.sum() < 2:
        return np.full((len(draws_nR), len(draws_nR)), np.nan)
    return np.atleast_2d(np.cov(draws_nR[:, defined]))


def t_interval(
    delta: float, variances: list[tuple[float, int]], shared: float, level: float = 0.95
) -> tuple[float, float]:
    """Returns delta ± t · se, where se² sums these (variance, its degrees of freedom) and what examples share.

    `shared` is an estimate about 0 where nothing is shared, so it is cut off there; it comes from hundreds of examples
    and counts as known. Source: Satterthwaite 1946, for the degrees of freedom of the sum.
    """
    from scipy.stats import t  # slow to import

    drawn = sum(variance for variance, _ in variances)
    total = drawn + max(0.0, shared)
    if total <= 0:
        return delta, delta
    freedom = total**2 / sum(variance**2 / df for variance, df in variances) if drawn > 0 else np.inf
    half = float(t.ppf((1 + level) / 2, freedom)) * total**0.5
    return delta - half, delta + half
