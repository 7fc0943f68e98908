"""Corrections over a family whose tests form a tree: overall -> task -> language, model by model.

How "gatekeeping" shares alpha out. Every model gets an equal share for its overall test. A test that is rejected hands
its share on in equal parts: overall to tasks, a task to its languages. What is rejected down to its last language
hands its share to those beside it, and where none is left, to those beside its parent. An adjusted p is the smallest
alpha at which a test would be rejected. Without tasks and languages this is Holm 1979, to the digit.

Why the chance of any false rejection stays below alpha, whatever is true and whatever the dependence:

1. A test's share depends on nothing but which tests are rejected already, and never falls as more are.
2. The shares of all tests that are open at one time add up to alpha at most.
3. Take the shares of the true nulls once all false ones, as far as the gates let through, are rejected. By Bonferroni
   no true null has a p below that share, but for a chance of alpha. Then none is ever rejected: before the first of
   them only false ones were, so its share was no larger.

That is the sequential rejection principle of Goeman & Solari 2010 ("The sequential rejection principle of familywise
error control"), and the procedure is theirs for trees, the inheritance procedure of Goeman & Finos 2012, with equal
shares where Meinshausen 2008 ("Hierarchical testing of variable importance") shares by the number of leaves. It is at
the same time the shortcut of a closed test with weighted Bonferroni tests, which is how it is tested here.

Nothing above asks that a parent's null imply its children's. Means can cancel: a model that gains in one task what it
loses in another has no overall difference, its gate stays closed, and what is below is not found. That costs power,
never error. Correcting each level by itself at full alpha would not do: a model without any overall difference and a
model with one but without a difference in some task are two chances of alpha.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import isnan

import numpy as np

from unibench.stats.corrections import benjamini_hochberg, holm

Hypothesis = tuple[str, str | None, str | None]  # model, task, language; None: the mean over all of them
Path = tuple[str | None, ...]  # a hypothesis without the None at its end: its place in the tree


@dataclass(frozen=True, slots=True, kw_only=True)
class Adjusted:
    """One test after correction. `rejected` at the alpha asked for; `closed`: a test above it was not, so it can't be.

    `p_adjusted` is nan where `p` is: such a test can't be made and isn't in the family. Behind a closed gate it is a
    number, never below the gate's own.
    """

    p: float
    p_adjusted: float
    rejected: bool
    closed: bool = False


def gatekeeping(tests: Mapping[Hypothesis, float], alpha: float = 0.05) -> dict[Hypothesis, Adjusted]:
    """Returns each test adjusted by the rules above, in the order given; controls the family-wise error rate.

    A gate without a test of its own (p nan, or not in `tests`) stands open and passes its share on. Two tests of the
    same thing, such as a task and its only language, cost nothing: an only child has its parent's whole share.
    """
    family = {_path(name): p for name, p in _family(tests).items()}
    values = {path: min(1.0, value) for path, value in _shares(family, 0).items()}

    def closed(path: Path) -> bool:
        return any(values.get(path[:depth], 0.0) > alpha for depth in range(1, len(path)))

    out = _uncorrected(tests)
    for name in _family(tests):
        path = _path(name)
        out[name] = Adjusted(
            p=tests[name], p_adjusted=values[path], rejected=values[path] <= alpha, closed=closed(path)
        )
    return out


def flat_holm(tests: Mapping[Hypothesis, float], alpha: float = 0.05) -> dict[Hypothesis, Adjusted]:
    """Returns each test adjusted by Holm 1979 over all of them alike (family-wise error, any dependence)."""
    return _flat(tests, alpha, holm)


def flat_bh(tests: Mapping[Hypothesis, float], alpha: float = 0.05) -> dict[Hypothesis, Adjusted]:
    """Returns each test adjusted by Benjamini & Hochberg 1995 (the share of false ones among those rejected).

    Proven for independent and for positively dependent tests; two-sided tests that share a baseline are nearly so.
    """
    return _flat(tests, alpha, benjamini_hochberg)


Correction = Callable[[Mapping[Hypothesis, float], float], dict[Hypothesis, Adjusted]]
CORRECTIONS: Mapping[str, Correction] = {
    "gatekeeping": gatekeeping,
    "holm": flat_holm,
    "bh": flat_bh,
}


def hardest(correction: str, tests: Iterable[Hypothesis]) -> dict[Hypothesis, int]:
    """Returns the most that each p can be multiplied by: at its first step, with nothing else rejected beside it.

    Flat, the number of tests. In a tree, as many as share alpha at each branching on the way to it.
    """
    names = list(tests)
    if correction != "gatekeeping":
        return {name: len(names) for name in names}
    paths = {name: _path(name) for name in names}
    prefixes = {path[:depth] for path in paths.values() for depth in range(1, len(path) + 1)}
    branches: dict[Path, int] = {}
    for prefix in prefixes:
        branches[prefix[:-1]] = branches.get(prefix[:-1], 0) + 1
    return {name: int(np.prod([branches[path[:depth]] for depth in range(len(path))])) for name, path in paths.items()}


def family_size(correction: str, tests: Iterable[Hypothesis]) -> int:
    """Returns what the number of resamples must scale with: the most that a p of this family can be multiplied by.

    At least the number of tests. More than that where a tree is uneven: one of 20 models with 10 tasks of 15 languages
    has languages at a share of 1 in 3,000, however few tests the other models have.
    """
    steps = hardest(correction, tests)
    return max([len(steps), *steps.values()])


def _shares(tests: Mapping[Path, float], depth: int) -> dict[Path, float]:
    """Returns the smallest alpha given to a branch, whose tests share their first `depth` names, that rejects each."""
    gate, below = 0.0, {}
    branches: dict[str | None, dict[Path, float]] = {}
    for path, p in tests.items():
        if len(path) == depth:
            gate = p
        else:
            branches.setdefault(path[depth], {})[path] = p
    for branch in _beside([_shares(branch, depth + 1) for branch in branches.values()]):
        below.update(branch)
    return {path: gate if len(path) == depth else max(gate, below[path]) for path in tests}


def _beside(branches: list[dict[Path, float]]) -> list[dict[Path, float]]:
    """Returns the same for branches that share alpha in equal parts: Holm's steps, a branch going when it's used up.

    The first j to be used up leave the others a share of 1 in k - j; a test is rejected at the first stage that will do
    it, and no stage is reached at an alpha below the one that uses up those before.
    """
    values = [np.array(list(branch.values())) for branch in branches]
    best = [np.full(len(mine), np.inf) for mine in values]
    order = sorted(range(len(values)), key=lambda i: float(values[i].max()))
    reached = 0.0
    for j, hardest in enumerate(order):
        left = len(order) - j
        for i in order[j:]:
            best[i] = np.minimum(best[i], np.maximum(reached, left * values[i]))
        reached = max(reached, left * float(values[hardest].max()))
        if reached >= 1:
            break  # at no alpha below 1 does anything leave a share from here on
    return [dict(zip(branch, mine.tolist(), strict=True)) for branch, mine in zip(branches, best, strict=True)]


def _flat(
    tests: Mapping[Hypothesis, float], alpha: float, rule: Callable[[list[float]], list[float]]
) -> dict[Hypothesis, Adjusted]:
    family = _family(tests)
    out = _uncorrected(tests)
    for (name, p), adjusted in zip(family.items(), rule(list(family.values())), strict=True):
        out[name] = Adjusted(p=p, p_adjusted=adjusted, rejected=adjusted <= alpha)
    return out


def _family(tests: Mapping[Hypothesis, float]) -> dict[Hypothesis, float]:
    for name, p in tests.items():
        if not isnan(p) and not 0 <= p <= 1:
            raise ValueError(f"the p of {name} is {p}; expected a number from 0 to 1, or nan where there is no test")
    return {name: p for name, p in tests.items() if not isnan(p)}


def _uncorrected(tests: Mapping[Hypothesis, float]) -> dict[Hypothesis, Adjusted]:
    return {name: Adjusted(p=p, p_adjusted=float("nan"), rejected=False) for name, p in tests.items()}


def _path(name: Hypothesis) -> Path:
    model, task, language = name
    if language is not None:
        return (model, task, language)
    return (model,) if task is None else (model, task)
