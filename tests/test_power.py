"""Minimum detectable differences against statsmodels, by hand, and by planting them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats as scipy_stats
from statsmodels.stats.power import NormalIndPower
from toy_pairs import pair, units_for

from unibench import metrics, resampling
from unibench.errors import UserError
from unibench.stats.power import detectable, minimum_detectable, needed_examples

GROUPS, SIZE = 120, 2


def test_by_hand() -> None:
    assert minimum_detectable(1.0) == pytest.approx(1.959964 + 0.841621, abs=1e-6)
    assert minimum_detectable(0.01, alpha=0.01, power=0.9) == pytest.approx(0.01 * (2.575829 + 1.281552), abs=1e-8)
    assert math.isnan(minimum_detectable(float("nan")))


@pytest.mark.parametrize(("alpha", "power", "n"), [(0.05, 0.8, 100), (0.01, 0.9, 400), (0.001, 0.5, 50)])
def test_equals_the_effect_that_statsmodels_finds_for_one_sample(alpha: float, power: float, n: int) -> None:
    expected = NormalIndPower(ddof=0).solve_power(nobs1=n, alpha=alpha, power=power, ratio=0, alternative="two-sided")
    assert minimum_detectable(1 / math.sqrt(n), alpha, power) == pytest.approx(expected, rel=1e-3)


def test_needed_examples_turns_the_question_round() -> None:
    spread, n = 0.012, 500
    found = minimum_detectable(spread)
    assert needed_examples(found, spread, n) == n
    assert needed_examples(-found / 2, spread, n) == 4 * n
    assert needed_examples(found / 2 - 1e-4, spread, n) > 4 * n
    assert needed_examples(0.0, spread, n) == math.inf
    assert math.isnan(needed_examples(float("nan"), spread, n))
    assert math.isnan(needed_examples(0.01, float("nan"), n))


@pytest.mark.parametrize(("alpha", "power"), [(0.0, 0.8), (0.05, 1.0), (1.2, 0.8), (float("nan"), 0.5)])
def test_what_is_no_probability_is_refused(alpha: float, power: float) -> None:
    with pytest.raises(UserError, match="between 0 and 1"):
        minimum_detectable(1.0, alpha, power)


def swap_null(metric: str, ours: np.ndarray, theirs: np.ndarray, group_N: np.ndarray, resamples: int, seed: int):
    groups = int(group_N.max()) + 1
    rng = np.random.default_rng(seed)
    return resampling.swap(metrics.METRICS[metric], [(ours, theirs)], group_N, groups, resamples, rng)[0]


def true_difference(metric: str, gap: float) -> float:
    """Of systems with the same errors, but for the gap: each is distributed as in `pair`, and luck cancels."""
    better, worse = (
        units_for(metric, np.random.default_rng(98), np.random.default_rng(99), 40_000 * SIZE, SIZE, noise)
        for noise in (0.0, gap)
    )
    return metrics.score(metric, better) - metrics.score(metric, worse)


def told(metric: str, gap: float) -> float:
    """What cells with this gap say is detectable in them, on average."""
    nulls = [swap_null(metric, *pair(metric, 10 + i, groups=GROUPS, size=SIZE, gap=gap), 200, i) for i in range(24)]
    return float(np.mean([detectable(null, groups=GROUPS).difference for null in nulls]))


@pytest.mark.parametrize("metric", ["accuracy", "macro_f1", "span_f1", "token_f1", "spearman", "pearson"])
def test_a_planted_difference_of_that_size_is_found_four_times_in_five(metric: str) -> None:
    low, high = 0.0, 2.0
    for _ in range(10):  # the gap whose true difference is what its own cells say
        gap = (low + high) / 2
        low, high = (gap, high) if true_difference(metric, gap) < told(metric, gap) else (low, gap)
    found, runs = 0, 300
    for i in range(runs):
        ours, theirs, group_N = pair(metric, 5000 + i, groups=GROUPS, size=SIZE, gap=gap)
        null = swap_null(metric, ours, theirs, group_N, 199, i)
        observed = metrics.score(metric, ours[0]) - metrics.score(metric, theirs[0])
        found += resampling.p_value(observed, null) <= 0.05
    low_count, high_count = scipy_stats.binom.ppf([0.0005, 0.9995], runs, 0.8)
    assert low_count <= found <= high_count, f"{found} of {runs}"


def test_the_family_costs_what_bonferroni_says() -> None:
    null = np.random.default_rng(0).normal(0, 0.01, 20_000)
    one, of_fifty = detectable(null, groups=300), detectable(null, groups=300, family=50)
    assert one.spread == pytest.approx(0.01, rel=0.02)
    assert one.difference == pytest.approx(minimum_detectable(one.spread))
    assert of_fifty.alpha == 0.001
    assert of_fifty.difference == pytest.approx(minimum_detectable(one.spread, alpha=0.001))
    assert of_fifty.smallest_p == pytest.approx(1 / 20_001)
    with pytest.raises(UserError, match="family of 0"):
        detectable(null, groups=300, family=0)


def test_what_cannot_be_told_is_withheld_with_the_reason() -> None:
    null = np.random.default_rng(0).normal(0, 0.01, 999)
    few = detectable(null, groups=5)
    assert few.smallest_p == 2 / 2**5  # both labellings of the most extreme split count
    assert "5 groups" in few.withheld
    assert detectable(null, groups=6).withheld == ""
    assert "999 resamples allow no p under 0.001" in detectable(null, groups=300, family=100).withheld
    same = detectable(np.zeros(999), groups=300)
    assert "never differ" in same.withheld
    holed = np.where(np.arange(999) % 10 == 0, np.nan, null)
    undefined = detectable(holed, groups=300)
    assert undefined.withheld.startswith("100 of 999 resamples")
    nothing = detectable(np.empty(0), groups=0)
    assert nothing.withheld
    assert all(math.isnan(x.difference) for x in (few, same, undefined, nothing))


def test_the_least_p_of_few_groups_is_the_permutation_tests_own() -> None:
    """Five groups, the system better in each: of 32 exchanges two are as extreme, so no test at 5 % can succeed."""
    ours, theirs, group_N = pair("token_f1", 3, groups=5, size=2)
    theirs = np.minimum(ours, theirs) - 0.1
    null = swap_null("token_f1", ours, theirs, group_N, 40_000, 0)
    observed = metrics.score("token_f1", ours[0]) - metrics.score("token_f1", theirs[0])
    assert resampling.p_value(observed, null) == pytest.approx(detectable(null, groups=5).smallest_p, abs=0.005)
