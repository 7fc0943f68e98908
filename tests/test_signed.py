"""Signed-rank and paired t against scipy, an enumeration of every sign, their level, their power, and their floors."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats as scipy_stats

from unibench.stats.signed import floor_note, paired_t, wilcoxon

NAN = float("nan")


def test_wilcoxon_under_ties_is_the_enumeration_of_every_sign() -> None:
    deltas = np.array([0.1, 0.1, -0.2, 0.3, 0.3, 0.3, -0.1, 0.5])
    ranks = scipy_stats.rankdata(np.abs(deltas))
    sums = np.array([ranks[np.array(up)].sum() for up in itertools.product([False, True], repeat=8)])
    observed = ranks[deltas > 0].sum()
    expected = 2 * min((sums >= observed).mean(), (sums <= observed).mean())
    assert wilcoxon(list(deltas)).p == pytest.approx(min(1.0, expected))


def test_differences_equal_but_for_rounding_are_ties() -> None:
    assert 0.3 - 0.2 != 0.1
    rounded, clean = wilcoxon([0.3 - 0.2, -0.1, 0.2, 1e-17]), wilcoxon([0.1, -0.1, 0.2])
    assert rounded == clean
    assert paired_t([0.3 - 0.2, 0.1]).reason


def test_wilcoxon_says_why_it_has_no_p() -> None:
    assert wilcoxon([0.0, NAN]).reason == "no cell differs"
    assert wilcoxon([0.1]).reason == ""


def test_paired_t_equals_scipy() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        ours, theirs = rng.random((2, rng.integers(2, 30)))
        expected = scipy_stats.ttest_rel(ours, theirs)
        found = paired_t([*(ours - theirs), NAN], level=0.9)
        assert (found.n, found.level, found.reason) == (len(ours), 0.9, "")
        assert found.p == pytest.approx(expected.pvalue, abs=1e-7)
        assert found.mean == pytest.approx((ours - theirs).mean())
        interval = expected.confidence_interval(0.9)
        assert (found.low, found.high) == pytest.approx((interval.low, interval.high), abs=1e-7)


def test_paired_t_by_hand() -> None:
    # 1 2 3: mean 2, sd 1, se 1/sqrt(3); with 2 degrees of freedom P(|T| > t) = 1 - t / sqrt(2 + t * t)
    found, t = paired_t([1.0, 2.0, 3.0]), 2 * math.sqrt(3)
    assert found.p == pytest.approx(1 - t / math.sqrt(2 + t * t))
    assert found.high - found.mean == pytest.approx(4.302652730 / math.sqrt(3))
    assert found.smallest_p == 0.0


def test_paired_t_withholds_what_it_cannot_know() -> None:
    none, one = paired_t([NAN]), paired_t([0.2])
    assert (none.n, none.reason) == (0, "no cell has a difference")
    assert (one.n, one.mean, one.smallest_p, one.reason) == (1, 0.2, 1.0, "one difference has no spread")
    same = paired_t([0.2, 0.2, 0.2])
    assert same.reason == "all 3 differences are the same, so they have no spread"
    for found in (none, one, same):
        assert all(map(math.isnan, (found.p, found.low, found.high)))
    identical = paired_t([0.0, 0.0, 0.0])
    assert (identical.p, identical.mean, identical.low, identical.high, identical.reason) == (1.0, 0.0, 0.0, 0.0, "")


@pytest.mark.parametrize("test", [wilcoxon, paired_t])
@pytest.mark.parametrize("spread", ["normal", "uniform", "laplace"])
def test_one_in_twenty_rejects_under_the_null(test, spread: str) -> None:
    runs, rng = 1000, np.random.default_rng(2)
    deltas = getattr(rng, spread)(size=(runs, 12)) - 0.5 * (spread == "uniform")
    rejected = sum(test(list(row)).p <= 0.05 for row in deltas)
    # from 4 %: of 12 ranks Wilcoxon can attain 4.2 %, and t is a little conservative under heavy tails
    low, high = scipy_stats.binom.ppf([0.0005, 0.9995], runs, [0.04, 0.05])
    assert low <= rejected <= high, f"{rejected} of {runs} rejected at 5 %"


@pytest.mark.parametrize("test", [wilcoxon, paired_t])
def test_a_planted_gap_is_found(test) -> None:
    rng = np.random.default_rng(3)
    assert sum(test(list(rng.normal(1.2, 1, size=12))).p <= 0.05 for _ in range(100)) >= 85


def test_cells_that_share_a_fine_tuning_reject_far_too_often() -> None:
    """Why these are descriptions: 12 languages of one fine-tuned model move together."""
    rng, runs = np.random.default_rng(4), 200
    shared = [list(rng.normal() + rng.normal(size=12)) for _ in range(runs)]
    for test in (wilcoxon, paired_t):
        assert sum(test(deltas).p <= 0.05 for deltas in shared) / runs > 0.3


def test_the_interval_holds_the_mean_as_often_as_it_says() -> None:
    rng, runs = np.random.default_rng(5), 1000
    found = [paired_t(list(rng.normal(0.3, 1, size=8))) for _ in range(runs)]
    held = sum(one.low <= 0.3 <= one.high for one in found)
    low, high = scipy_stats.binom.ppf([0.0005, 0.9995], runs, 0.95)
    assert low <= held <= high


@pytest.mark.parametrize(
    ("n", "smallest"), [(1, "1"), (2, "0.5"), (3, "0.25"), (4, "0.125"), (5, "0.0625"), (6, None), (8, None)]
)
def test_the_floor_note_says_so_where_significance_is_impossible(n: int, smallest: str | None) -> None:
    if smallest is None:
        assert floor_note(n) == ""
    else:
        tasks = "1 task" if n == 1 else f"{n} tasks"
        assert floor_note(n) == f"{tasks} cannot be significant: the smallest two-sided Wilcoxon p is {smallest}"
    best = wilcoxon([0.1 * (i + 1) for i in range(n)])
    assert (best.p <= 0.05) == (floor_note(n) == "")


def test_the_floor_note_knows_what_it_counts_and_the_level() -> None:
    assert floor_note(6, noun="seed", alpha=0.01).startswith("6 seeds cannot be significant")
    assert floor_note(8, alpha=0.01) == ""
    assert floor_note(0) == "no tasks cannot be significant: the smallest two-sided Wilcoxon p is 1"
