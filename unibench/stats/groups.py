"""Group against group: are these models, as a kind, better than those? Labels are permuted over models.

What p claims: that the labels matter, were models drawn afresh from the same two kinds. With a handful of models it can
hardly be small, and the smallest that could have come out is said each time. Whatever else differs between the groups
(size, data) is part of the difference.

Legend: `P` relabellings, `n` clusters (or training runs) of both sides, ours first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from math import comb

import numpy as np

from unibench.metrics import Array
from unibench.resampling import TIE

MOST = 20_000  # relabellings: all of them up to here, as many random ones beyond
NAN = float("nan")


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupClaim:
    """The mean of group a, of group b, and their difference, each over clusters: a cluster counts once.

    `arrangements` are the relabellings that p counts, `smallest_p` the least p they can give. `note` says what that
    makes impossible; where `withheld` says why there is no p, it is nan.
    """

    mean_a: float
    mean_b: float
    delta: float
    p: float
    smallest_p: float
    arrangements: int
    models: tuple[int, int]
    clusters: tuple[int, int]
    test: str
    note: str = ""
    withheld: str = ""


def claim(
    a: Mapping[str, float],
    b: Mapping[str, float],
    clusters: Mapping[str, str] | None = None,
    *,
    rng: np.random.Generator,
    alpha: float = 0.05,
) -> GroupClaim:
    """Returns the two-sided permutation test of two groups of models, given one value (a mean over cells) a model.

    `clusters` names what models share, a teacher say: those move together and enter as their mean, for what they share
    was drawn once. A model it doesn't name is a cluster of its own, under its own name: so a teacher among the models
    joins its students. Weighing by models instead would let a teacher with
    many students outvote the others, and is no better calibrated; permuting models singly rejects a true null two to
    four times too often.
    """
    named = clusters or {}

    def means(group: Mapping[str, float]) -> dict[str, float]:
        members: dict[str, list[float]] = {}
        for model, value in group.items():
            members.setdefault(named.get(model, model), []).append(value)
        return {cluster: float(np.mean(values)) for cluster, values in members.items()}

    of_a, of_b = means(a), means(b)
    sizes = len(of_a), len(of_b)
    mean_a = float(np.mean(list(of_a.values()))) if of_a else NAN
    mean_b = float(np.mean(list(of_b.values()))) if of_b else NAN
    arrangements, smallest = attainable(*sizes)
    p, note, withheld = NAN, "", _withheld(a, b, of_a.keys() & of_b.keys(), sizes)
    if not withheld:
        labels_Pn = relabellings(*sizes, rng)
        values = np.array([*of_a.values(), *of_b.values()])
        p = two_sided(labels_Pn @ values / sizes[0] - (1 - labels_Pn) @ values / sizes[1], *sizes)
        if smallest > alpha:
            note = f"{_sides(sizes)}: p cannot go below {smallest:.3g}, so no gap could be significant at {alpha:g}"
    return GroupClaim(
        mean_a=mean_a, mean_b=mean_b, delta=mean_a - mean_b, p=p, smallest_p=smallest, arrangements=arrangements,
        models=(len(a), len(b)), clusters=sizes, test="permutation of model labels, clusters whole, two-sided",
        note=note, withheld=withheld,
    )  # fmt: skip


def attainable(a: int, b: int) -> tuple[int, float]:
    """Returns how many relabellings of a against b are looked at, and the smallest two-sided p they can give."""
    if not a or not b:
        return 0, NAN
    every = comb(a + b, a)
    return (every, min(1.0, 2 / every)) if every <= MOST else (MOST, 2 / (MOST + 1))


def relabellings(a: int, b: int, rng: np.random.Generator) -> Array:
    """Returns which of the a + b are called ours (P, n), 1 or 0; row 0 is how they are called.

    All of them where there are at most MOST, else that one and MOST random ones.
    """
    if comb(a + b, a) <= MOST:
        ours = np.array(list(combinations(range(a + b), a)), dtype=np.intp)
    else:
        drawn = rng.permuted(np.tile(np.arange(a + b), (MOST, 1)), axis=1)[:, :a]
        ours = np.concatenate([np.arange(a)[None], drawn])
    labels_Pn = np.zeros((len(ours), a + b))
    np.put_along_axis(labels_Pn, ours, 1.0, axis=1)
    return labels_Pn


def two_sided(statistics: Array, a: int, b: int) -> float:
    """Returns twice the smaller tail of the statistics (P,) of `relabellings`, whose row 0 is the observed one.

    Counting |difference| instead would call unequal groups' one extreme labelling an event of two sides, and halve p.
    The observed labelling counts in both forms, so the random form is (c + 1) / (MOST + 1) (Phipson & Smyth 2010).
    """
    if np.isnan(statistics[0]):
        return NAN
    lower = np.count_nonzero(statistics <= statistics[0] + TIE)
    upper = np.count_nonzero(statistics >= statistics[0] - TIE)
    return float(min(1.0, 2 * min(lower, upper) / len(statistics)))


def _withheld(a: Mapping[str, float], b: Mapping[str, float], shared: set[str], sizes: tuple[int, int]) -> str:
    if not a or not b:
        return f"{len(a)} models against {len(b)}: each group needs one"
    missing = sorted(model for group in (a, b) for model, value in group.items() if np.isnan(value))
    if missing:
        return f"no value for {', '.join(missing)}: a group's mean can't leave out a model that failed"
    if shared:
        return (
            f"{', '.join(sorted(shared))} stands behind models of both groups: what moves together can't change sides"
        )
    if sizes == (1, 1):
        return "1 cluster against 1: exchanging two labels always gives p = 1"
    return ""


def _sides(sizes: tuple[int, int]) -> str:
    return f"{sizes[0]} {'cluster' if sizes[0] == 1 else 'clusters'} against {sizes[1]}"
