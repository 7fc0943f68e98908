"""McNemar's exact test against statsmodels, hand-computed tails, and the permutation test that it stands for."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar

from unibench import metrics, resampling
from unibench.stats import exact


@pytest.mark.parametrize("seed", range(12))
def test_p_equals_statsmodels(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 3000))
    ours, theirs = rng.random(n) < 0.7, rng.random(n) < 0.7 - seed / 100
    both = np.array(
        [[np.sum(ours & theirs), np.sum(ours & ~theirs)], [np.sum(~ours & theirs), np.sum(~ours & ~theirs)]]
    )
    found = exact.mcnemar(ours, theirs)
    assert found.p == pytest.approx(statsmodels_mcnemar(both, exact=True).pvalue, rel=1e-9)
    assert (found.n, found.only_ours, found.only_theirs) == (n, both[0, 1], both[1, 0])


def test_p_by_hand() -> None:
    """5 against 1: twice (1 + 6) / 2⁶. 6 against 0: 2 / 2⁶, the least that six disagreements reach."""
    ours = np.array([1, 1, 1, 1, 1, 0, 1, 0.0])
    theirs = np.array([0, 0, 0, 0, 0, 1, 1, 0.0])
    found = exact.mcnemar(ours, theirs)
    assert found.p == pytest.approx(14 / 64)
    assert found.smallest_p == pytest.approx(2 / 64)
    assert exact.mcnemar(theirs, ours).p == found.p
    assert exact.mcnemar(np.ones(6), np.zeros(6)).p == pytest.approx(2 / 64)
    assert exact.mcnemar(np.array([1.0, 0.0]), np.array([0.0, 1.0])).p == 1.0


def test_agreement_has_p_1_and_no_examples_have_none() -> None:
    same = exact.mcnemar(np.ones(5), np.ones(5))
    assert (same.p, same.smallest_p, same.reason) == (1.0, 1.0, "")
    nothing = exact.mcnemar(np.zeros(0), np.zeros(0))
    assert math.isnan(nothing.p)
    assert nothing.reason == "no examples"


def test_it_is_the_permutation_of_single_examples() -> None:
    """All 2⁸ swaps of sides, counted by hand; and drawn ones agree within their error."""
    rng = np.random.default_rng(3)
    gold = np.ones(8)
    ours, theirs = (np.column_stack([gold, rng.random(8) < q]).astype(float) for q in (0.9, 0.4))
    gaps = exact.hits("accuracy", ours) - exact.hits("accuracy", theirs)
    everything = [abs(np.dot(signs, gaps)) >= abs(gaps.sum()) for signs in itertools.product([1, -1], repeat=8)]
    p = exact.mcnemar(exact.hits("accuracy", ours), exact.hits("accuracy", theirs)).p
    assert p == pytest.approx(np.mean(everything))
    metric = metrics.METRICS["accuracy"]
    null = resampling.swap(metric, [(ours[None], theirs[None])], np.arange(8), 8, 20_000, rng)[0]
    assert resampling.p_value(float(gaps.mean()), null) == pytest.approx(p, abs=4 * np.sqrt(p / 20_000))


def test_hits_are_what_the_metric_averages() -> None:
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 3, size=(50, 2)).astype(float)
    assert exact.hits("accuracy", labels).mean() == metrics.score("accuracy", labels)
    answers = np.column_stack([rng.integers(0, 2, 50), rng.random(50), rng.integers(0, 2, 50)])
    for name in ("exact_match:answerable", "exact_match:unanswerable"):
        right = exact.hits(name, answers)
        assert right.mean() == pytest.approx(metrics.score(name, answers))
        assert len(right) < 50
    with pytest.raises(ValueError, match="token_f1 is not a mean of hits"):
        exact.hits("token_f1", answers[:, :2])


@pytest.mark.parametrize(
    ("metric", "groups", "seeds", "words"),
    [
        ("accuracy", "abc", (0,), ""),
        ("exact_match", "abc", (3,), ""),
        ("exact_match:answerable", "abc", (3,), ""),
        ("accuracy", "abc", (0, 1), "2 seeds are averaged"),
        ("accuracy", "abc", (), "0 seeds are averaged"),
        ("accuracy", "aab", (0,), "3 examples form 2 groups"),
        ("token_f1", "abc", (0,), "token_f1 is not a mean of hits"),
        ("macro_f1", "abc", (0,), "not a mean of hits"),
        ("spearman", "abc", (0,), "not a mean of hits"),
    ],
)
def test_where_it_is_valid(metric: str, groups: str, seeds: tuple[int, ...], words: str) -> None:
    reason = exact.applies(metric, tuple(groups), seeds)
    assert reason.find(words) >= 0
    assert bool(reason) == bool(words)


@pytest.mark.parametrize(
    ("ours", "theirs"), [(np.ones(3), np.ones(4)), (np.array([0.5]), np.ones(1)), (np.array([np.nan]), np.ones(1))]
)
def test_it_refuses_what_is_no_hit(ours: np.ndarray, theirs: np.ndarray) -> None:
    with pytest.raises(ValueError, match="expected 0 or 1 for each of the same examples"):
        exact.mcnemar(ours, theirs)
