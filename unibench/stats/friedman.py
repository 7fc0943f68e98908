"""Three or more models over cells: Friedman's test of their ranks, Nemenyi's of the pairs, and the critical difference.

Legend: `C` cells, `M` models.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from unibench.metrics import Array

NAN = float("nan")


@dataclass(frozen=True, slots=True, kw_only=True)
class Friedman:
    """Mean ranks of models over blocks, and which of them a critical-difference diagram joins by a bar.

    Models stand in the order given, `mean_ranks` and both axes of `nemenyi_p` too; rank 1 is best. `blocks` is how many
    cells were ranked. `q` is the studentised range over √2, as in Demšar's table, and `critical_difference` what two
    mean ranks must differ by. `cliques` are the largest sets of two or more models not told apart, best first.
    `smallest_p` is the least p so many blocks can reach. `note` is what a reader must be told. Numbers are nan, and
    cliques empty, where `reason` says why.
    """

    names: tuple[str, ...]
    mean_ranks: tuple[float, ...]
    statistic: float
    p: float
    smallest_p: float
    blocks: int
    critical_difference: float
    q: float
    alpha: float
    cliques: tuple[tuple[str, ...], ...]
    nemenyi_p: tuple[tuple[float, ...], ...]
    note: str
    reason: str = ""


def friedman(scores_CM: Array, names: Sequence[str], alpha: float = 0.05) -> Friedman:
    """Returns Friedman's test over the cells in which every model has a score, with Nemenyi's post-hoc comparison.

    Higher scores are better, ties share the mean of their ranks. Blocks with nan are left out and counted in `note`.
    Withheld below 3 models or 2 blocks. Where all models tie in all blocks p is 1. Chi-square approximation, corrected
    for ties. Source: Friedman 1937; Nemenyi 1963; Demšar 2006, who doesn't correct for ties.
    """
    scores_CM = np.asarray(scores_CM, dtype=np.float64)
    if scores_CM.ndim != 2 or scores_CM.shape[1] != len(names):
        raise ValueError(f"{len(names)} names need a column of scores each; got an array {scores_CM.shape}")
    complete_CM = scores_CM[~np.isnan(scores_CM).any(axis=1)]
    cells, blocks, models = len(scores_CM), len(complete_CM), len(names)
    missing = "" if blocks == cells else f" {cells - blocks} of {cells} cells are left out: a model has no score there."
    short = ""
    if models < 3:
        short = f"Friedman's test is for 3 or more models; of {models} compare pairs (Wilcoxon)."
    elif blocks < 2:
        short = f"Friedman's test needs 2 cells in which all models have a score; it has {blocks}."
    if short:
        return Friedman(
            names=tuple(names), mean_ranks=(NAN,) * models, statistic=NAN, p=NAN, smallest_p=1.0, blocks=blocks,
            critical_difference=NAN, q=NAN, alpha=alpha, cliques=(), nemenyi_p=((NAN,) * models,) * models,
            note=f"Withheld: {short}{missing}", reason=short,
        )  # fmt: skip

    from scikit_posthocs import posthoc_nemenyi_friedman  # slow to import: seaborn comes with it
    from scipy import stats

    losses_CM = -np.round(complete_CM, 10)  # equal but for rounding is a tie
    mean_ranks_M = stats.rankdata(losses_CM, axis=1).mean(axis=0)
    statistic, p = 0.0, 1.0
    if np.ptp(losses_CM, axis=1).any():  # else scipy divides 0 by 0
        statistic, p = map(float, stats.friedmanchisquare(*losses_CM.T))
    smallest_p = float(stats.chi2.sf(blocks * (models - 1), models - 1))  # all blocks in one order
    q = float(stats.studentized_range.ppf(1 - alpha, models, np.inf)) / np.sqrt(2)
    critical = float(q * np.sqrt(models * (models + 1) / (6 * blocks)))
    nemenyi_MM = posthoc_nemenyi_friedman(losses_CM).to_numpy()
    note = (
        f"Descriptive: cells that share a fine-tuning, a task or a language are not independent blocks, so these p are "
        f"too small where they are alike. Friedman's test of {models} models over {blocks} cells: χ² {statistic:.2f}, "
        f"p = {p:.2g}, smallest attainable {smallest_p:.2g}. By Nemenyi's test mean ranks nearer than {critical:.2f} "
        f"are not told apart at {alpha:.0%}.{missing}"
    )
    if smallest_p > alpha:
        note += f" {blocks} cells of {models} models cannot be significant."
    elif p > alpha:
        note += " Friedman's test does not reject, so no pair should be read as different."
    return Friedman(
        names=tuple(names), mean_ranks=tuple(mean_ranks_M.tolist()), statistic=statistic, p=p, smallest_p=smallest_p,
        blocks=blocks, critical_difference=critical, q=float(q), alpha=alpha,
        cliques=_cliques(names, mean_ranks_M, critical), nemenyi_p=tuple(map(tuple, nemenyi_MM.tolist())), note=note,
    )  # fmt: skip


def _cliques(names: Sequence[str], mean_ranks_M: Array, critical: float) -> tuple[tuple[str, ...], ...]:
    """Returns the largest sets of 2 or more models whose mean ranks lie nearer than the critical difference."""
    order = np.argsort(mean_ranks_M, kind="stable")
    ranks = mean_ranks_M[order]
    found, covered = [], 0
    for first in range(len(ranks)):
        end = int(np.searchsorted(ranks, ranks[first] + critical, side="left"))
        if end - first > 1 and end > covered:
            found.append(tuple(names[m] for m in order[first:end]))
            covered = end
    return tuple(found)
