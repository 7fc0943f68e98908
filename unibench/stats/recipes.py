"""Recipe claims: "this way of training is better", from several pretraining runs a side.

What p and interval claim: a difference that new training runs would show, on new examples where bootstrap draws are
given. Fine-tuning seeds alone can't carry that: one pretraining run is one draw, however often it is fine-tuned. That
two runs of different recipes were given the same seed makes them no pair.

Legend: `A` arrays, one per run and seed: our runs in order, each with its seeds, then theirs; `R` resamples of example
groups; `n` runs of both sides, ours first; `P` relabellings of runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from unibench.metrics import Array
from unibench.resampling import TIE
from unibench.stats import groups, languages
from unibench.stats.means import macro_mean

FEWEST = 5  # pretraining runs a side: 4 against 4 reach p = .029, but their spread is a guess
NAN = float("nan")


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeClaim:
    """The difference of two recipes' mean scores, its 95 % interval, and its two-sided p.

    `runs` counts the pretraining runs of each side and `seeds` the fine-tunings of each of them. `arrangements` are the
    relabellings that p counts, `smallest_p` the least p they can give. Where `withheld` says why there is no claim,
    interval and p are nan.
    """

    delta: float
    low: float
    high: float
    p: float
    smallest_p: float
    arrangements: int
    runs: tuple[int, int]
    seeds: tuple[tuple[int, ...], tuple[int, ...]]
    test: str
    withheld: str = ""


def claim(
    scores: Mapping[tuple[str, str], Array],
    seeds: tuple[Sequence[int], Sequence[int]],
    *,
    draws: Mapping[tuple[str, str], Array] | None = None,
    rng: np.random.Generator,
) -> RecipeClaim:
    """Returns the claim about two recipes; withheld, with the reason, below 5 pretraining runs a side.

    `scores` maps (task, language) to the scores (A,), `draws` to their bootstrap draws (A, R) from the same resamples
    for all; `seeds` says how many rows each of our runs has, and each of theirs. A run's value is the mean of its
    seeds, then over languages, then over tasks (one key, already averaged, is fine).

    p relabels whole runs: exact for recipes that are the same. The statistic is the difference over its standard error
    (Welch's, plus what examples share), so that p also holds, nearly, for recipes that differ but not on average: in
    spread, in the number of seeds, by items that happen to be in the test set (Janssen 1997; Chung & Romano 2013). The
    interval is delta ± t · that standard error. Resampling runs, then their seeds, then examples counts the noise of
    seeds two times and that of examples up to three: widened for few runs, it covered up to 100 % instead of 95.

    Raises ValueError when rows and `seeds`, or the cells of scores and draws, disagree.
    """
    if draws is not None and draws.keys() != scores.keys():
        raise ValueError(f"draws of the cells {sorted(draws)} for scores of {sorted(scores)}; give both of each cell")
    counts = tuple(seeds[0]), tuple(seeds[1])
    a, b = len(counts[0]), len(counts[1])
    mean_n = _over_runs(scores, counts)
    withheld = _withheld(mean_n, a, b)
    joint_nn = np.zeros((a + b, a + b))
    if draws is not None and not withheld:
        joint_nn = languages.covariance(_over_runs(draws, counts))
        if np.isnan(joint_nn).any():
            withheld = "the score is undefined in more than 1 of 20 resamples of the examples"
    delta = float(mean_n[:a].mean() - mean_n[a:].mean()) if a and b else NAN
    low, high, p = NAN, NAN, NAN
    if not withheld:
        ours, theirs = (float(side.var(ddof=1)) / len(side) for side in (mean_n[:a], mean_n[a:]))
        labels_Pn = groups.relabellings(a, b, rng)
        shared = float(_shared(labels_Pn[:1], joint_nn)[0])
        low, high = languages.t_interval(delta, [(ours, a - 1), (theirs, b - 1)], shared)
        p = groups.two_sided(_statistics(labels_Pn, mean_n, joint_nn), a, b)
    kind = "permutation of whole pretraining runs, studentised, two-sided; "
    arrangements, smallest = groups.attainable(a, b)
    return RecipeClaim(
        delta=delta, low=low, high=high, p=p, smallest_p=smallest, arrangements=arrangements, runs=(a, b), seeds=counts,
        test=kind + ("new runs, new examples" if draws is not None else "new runs, these examples"), withheld=withheld,
    )  # fmt: skip


def _over_runs(values: Mapping[tuple[str, str], Array], counts: tuple[tuple[int, ...], tuple[int, ...]]) -> Array:
    """The mean over a run's seeds, then languages, then tasks: (A, ...) in every cell -> (n, ...)."""
    sizes = np.array([*counts[0], *counts[1]], dtype=np.intp)
    if (sizes < 1).any() or any(len(rows) != sizes.sum() for rows in values.values()):
        raise ValueError(
            f"{sorted({len(rows) for rows in values.values()})} rows a cell for runs with {counts} seeds; "
            "give a row for every run and seed, ours first, and leave out runs that have none"
        )
    if not values:
        return np.full(len(sizes), np.nan)
    starts = np.cumsum(sizes) - sizes

    def mean(rows: Array) -> Array:
        totals = np.add.reduceat(np.asarray(rows, dtype=np.float64), starts, axis=0)
        return np.asarray(totals / sizes.reshape(-1, *[1] * (totals.ndim - 1)))

    return np.asarray(macro_mean({cell: mean(rows) for cell, rows in values.items()}))


def _statistics(labels_Pn: Array, mean_n: Array, joint_nn: Array) -> Array:
    """The difference over its standard error, for every relabelling (P,); 0 where the difference is."""
    values_n = mean_n - mean_n.mean()
    difference, variance = np.zeros(len(labels_Pn)), np.maximum(0.0, _shared(labels_Pn, joint_nn))
    for sign, mine_Pn in ((1, labels_Pn), (-1, 1 - labels_Pn)):
        size = mine_Pn[0].sum()
        mean = mine_Pn @ values_n / size
        difference += sign * mean
        spread = np.maximum(0.0, mine_Pn @ values_n**2 - size * mean**2)
        variance += spread / (size - 1) / size
    difference[np.abs(difference) < TIE] = 0.0
    # a labelling without any spread is the most extreme of its sign; TIE² is far below a real standard error
    return np.asarray(difference / np.sqrt(np.maximum(variance, TIE**2)))


def _shared(labels_Pn: Array, joint_nn: Array) -> Array:
    """The variance (P,) of the difference that runs of a side share, for they met the same examples.

    Covariance within ours plus that within theirs, less twice that across: a run's own example noise, which the spread
    between runs holds already, is on the diagonal and stays out. It can come out below 0 where nothing is shared.
    """
    across = ((labels_Pn @ joint_nn) * (1 - labels_Pn)).sum(axis=1)
    out = -2 * across / (labels_Pn[0].sum() * (1 - labels_Pn[0]).sum())
    off_nn = joint_nn - np.diag(np.diag(joint_nn))
    for mine_Pn in (labels_Pn, 1 - labels_Pn):
        size = mine_Pn[0].sum()
        out += ((mine_Pn @ off_nn) * mine_Pn).sum(axis=1) / (size * (size - 1))
    return np.asarray(out)


def _withheld(mean_n: Array, a: int, b: int) -> str:
    if min(a, b) < FEWEST:
        return f"{a} runs against {b}: at least {FEWEST} a side are needed; every run is shown instead"
    if np.isnan(mean_n).any():
        return f"{int(np.isnan(mean_n).sum())} of {a + b} runs lack a defined score"
    if max(np.ptp(mean_n[:a]), np.ptp(mean_n[a:])) < TIE:
        return "the runs of each side all score the same: they look like copies of one run"
    return ""
