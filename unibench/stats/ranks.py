"""Where each of several models stands: rank, the ranks it may have, and the models it is not told apart from.

Legend: `M` models, `R` resamples.

All of it is a checkpoint claim: these trained models, new examples. Another training of the same models may order them
otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unibench.metrics import Array
from unibench.resampling import TIE, p_value
from unibench.stats.corrections import holm
from unibench.stats.letters import letters

NAN = float("nan")


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One model's place among those it was compared with.

    `rank` is 1 for the best, ties sharing the mean of their places; `low` and `high` bound the true rank, for all
    models at once; models that share a letter were not told apart. Withheld (nan, no letters) where `reason` says why.
    """

    model: str
    rank: float
    low: float
    high: float
    letters: str
    reason: str = ""


def pairwise(point_M: Array, draws_MR: Array) -> Array:
    """Returns the two-sided p (M, M) of every pair's difference in score: symmetric, 1 on the diagonal.

    `draws_MR` are the models' scores in joint bootstrap samples, all models in the same resample. The differences drawn
    are shifted to the null by the observed one, and p = (c + 1) / (R + 1) counts those at least as far from 0 as it is.
    Identical models have p = 1; a model without a score has nan. Source: Efron & Tibshirani 1993, ch. 16.

    Of equal models it tells apart 4 to 6 % at a nominal 5 % with 150 example groups, but 5 to 8 % with 45: a bootstrap
    is liberal where groups are few. Doubling the smaller tail did no better, and shifting by the mean draw worse.
    """
    point_M = _known(point_M, draws_MR)
    p_MM = np.full((len(point_M), len(point_M)), NAN)
    for i in range(len(point_M)):
        for j in range(i, len(point_M)):
            observed = float(point_M[i] - point_M[j])
            p_MM[i, j] = p_MM[j, i] = p_value(observed, draws_MR[i] - draws_MR[j] - observed)
    return p_MM


def rank_intervals(point_M: Array, draws_MR: Array, level: float = 0.95) -> tuple[Array, Array]:
    """Returns the lowest and highest rank (M,), (M,) each model may have, 1 for the best; all hold at once at `level`.

    The lowest is 1 + the models told apart from it that score higher, the highest leaves as many places below it as
    models told apart from it score lower: pairs by `pairwise`, p adjusted by Holm. So models that tie are given every
    rank they might share. A model without a score has nan and takes no place.
    Source: confidence sets for ranks, Mogstad, Romano, Shaikh & Wilhelm 2024.

    Not the percentiles of the ranks in the draws, which are the usual way: these scatter around the observed order, not
    the true one. In a simulation of 10 nearly equal models, nominally 95 % percentile intervals held the true rank of
    the best or worst model about half the time, and all ranks at once in 2 of 10 runs.
    """
    return _bounds(_known(point_M, draws_MR), _told_apart(pairwise(point_M, draws_MR), 1 - level))


def standings(models: Sequence[str], point_M: Array, draws_MR: Array, alpha: float = 0.05) -> tuple[Standing, ...]:
    """Returns the models' standings, best first, equal scores in the order given, models without a score last.

    Pairs are tested by `pairwise` and adjusted by Holm over all pairs; intervals and letters say the same of them, so a
    model alone has rank 1 and "a". A score that is nan, or undefined in more than 1 in 20 resamples, is withheld.
    """
    if len(models) != len(point_M):
        raise ValueError(f"{len(models)} names need a score each; got {len(point_M)}")
    known_M = _known(point_M, draws_MR)
    differ_MM = _told_apart(pairwise(known_M, draws_MR), alpha)
    low_M, high_M = _bounds(known_M, differ_MM)
    first_M, last_M = _bounds(known_M, ~np.eye(len(known_M), dtype=bool))  # as if all differed: only ties share places
    order = [int(m) for m in np.argsort(-known_M, kind="stable") if not np.isnan(known_M[m])]
    shown = letters(differ_MM[np.ix_(order, order)])
    placed = [
        Standing(
            model=models[m],
            rank=float(first_M[m] + last_M[m]) / 2,
            low=float(low_M[m]),
            high=float(high_M[m]),
            letters=shown[place],
        )
        for place, m in enumerate(order)
    ]
    withheld = [
        Standing(model=models[m], rank=NAN, low=NAN, high=NAN, letters="", reason=_why(point_M[m]))
        for m in np.flatnonzero(np.isnan(known_M)).tolist()
    ]
    return (*placed, *withheld)


def note(models: int, resamples: int, alpha: float = 0.05) -> str:
    """Returns what a table of standings must say below it: the test, the correction, the smallest p it can reach."""
    pairs = models * (models - 1) // 2
    smallest = min(1.0, pairs / (resamples + 1))
    if not pairs:
        return "Ranks: fewer than two models have a score, so there is nothing to rank them against."
    text = (
        f"Ranks: each of {pairs} pairs of models by a paired bootstrap over example groups ({resamples:,} joint "
        f"resamples, shifted to the null), p adjusted by Holm, smallest attainable {smallest:.2g}. Models that share a "
        f"letter are not told apart at {alpha:.0%}, which does not show them equal. Rank intervals follow from these "
        f"tests and hold for all models at once at {1 - alpha:.0%}. They speak of these trained models on new examples."
    )
    if smallest > alpha:
        text += f" With so few resamples no pair can be told apart: it takes {int(np.ceil(pairs / alpha)) - 1:,}."
    return text


def _known(point_M: Array, draws_MR: Array) -> Array:
    """Returns the scores (M,), nan where they or more than 1 in 20 of their resamples are undefined."""
    if np.ndim(draws_MR) != 2 or len(draws_MR) != len(point_M) or not np.size(draws_MR, 1):
        raise ValueError(f"{len(point_M)} scores need as many rows of resamples; got an array {np.shape(draws_MR)}")
    return np.where(np.isnan(draws_MR).mean(axis=1) <= 0.05, np.asarray(point_M, dtype=np.float64), NAN)


def _told_apart(p_MM: Array, alpha: float) -> NDArray[np.bool_]:
    """Returns which pairs differ (M, M), p adjusted over all of them; False where p is nan."""
    upper = np.triu_indices(len(p_MM), 1)
    differ_MM = np.zeros(p_MM.shape, dtype=bool)
    differ_MM[upper] = np.array(holm(p_MM[upper].tolist())) <= alpha
    return differ_MM | differ_MM.T


def _bounds(point_M: Array, counted_MM: NDArray[np.bool_]) -> tuple[Array, Array]:
    """Returns 1 + how many counted models score higher, and how many do not score lower, for each model."""
    gap_MM = point_M[:, None] - point_M[None, :]
    known = ~np.isnan(point_M)
    higher_M, lower_M = (counted_MM & (gap_MM < -TIE)).sum(axis=1), (counted_MM & (gap_MM > TIE)).sum(axis=1)
    return np.where(known, 1.0 + higher_M, NAN), np.where(known, known.sum() - 1.0 * lower_M, NAN)


def _why(point: float) -> str:
    return "its score is undefined" if np.isnan(point) else "its score is undefined in more than 1 in 20 resamples"
