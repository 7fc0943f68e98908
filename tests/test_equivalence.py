"""Equivalence within a margin: against statsmodels, by hand, and how often it is wrong at the margin's edge."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats as scipy_stats
from statsmodels.stats.weightstats import ttost_paired
from toy_pairs import pair, units_for

from unibench import metrics, resampling
from unibench.errors import UserError
from unibench.stats.equivalence import tost


def test_by_hand() -> None:
    draws = np.arange(-9, 10) / 100  # mirrored about 0.01: -0.07, -0.06 ... 0.11
    found = tost(0.01, draws, 0.085, alpha=0.1)
    assert found.p == 4 / 20  # 0.09, 0.10 and 0.11 are beyond the upper edge, and the observed counts
    assert (found.low, found.high) == pytest.approx((-0.06, 0.10))  # 19 draws, a tenth: the second from either end
    assert found.level == pytest.approx(0.8)
    assert found.verdict == "not known"
    wider = tost(0.01, draws, 0.105, alpha=0.1)
    assert (wider.p, wider.verdict) == (2 / 20, "equivalent")
    assert tost(0.01, draws, 0.11, alpha=0.1).p == 2 / 20, "a draw on the edge is beyond it"
    assert tost(0.31, draws + 0.3, 0.2, alpha=0.1).verdict == "different"
    assert tost(0.31, draws + 0.3, 0.26, alpha=0.1).verdict == "not known"


def test_equals_statsmodels_on_means() -> None:
    rng = np.random.default_rng(0)
    for shift, margin in [(0.0, 0.03), (0.01, 0.03), (0.02, 0.03), (0.03, 0.03), (-0.015, 0.03)]:
        ours = rng.normal(0.5 + shift, 0.2, 2000)
        theirs = 0.5 * (ours - shift) + rng.normal(0.25, 0.17, 2000)
        gaps = ours - theirs
        draws = np.array([rng.choice(gaps, len(gaps)).mean() for _ in range(4000)])
        expected = ttost_paired(ours, theirs, -margin, margin)[0]
        found = tost(float(gaps.mean()), draws, margin)
        assert found.p == pytest.approx(expected, abs=0.02)
        low, high = scipy_stats.t.interval(0.9, len(gaps) - 1, gaps.mean(), scipy_stats.sem(gaps))
        assert (found.low, found.high) == pytest.approx((low, high), abs=0.0006)


def test_the_interval_lies_inside_the_margin_exactly_if_p_is_small() -> None:
    rng = np.random.default_rng(1)
    verdicts = []
    for _ in range(400):
        draws = rng.gamma(2, 0.01, rng.integers(60, 300)) + rng.normal(0, 0.02)
        observed, margin, alpha = float(draws.mean()), float(rng.uniform(0.005, 0.08)), float(rng.uniform(0.02, 0.2))
        found = tost(observed, draws, margin, alpha=alpha)
        assert (found.p <= alpha) == (-margin < found.low and found.high < margin)
        assert (found.verdict == "equivalent") == (found.p <= alpha)
        assert (found.verdict == "different") == (found.low > margin or found.high < -margin)
        verdicts.append(found.verdict)
        if found.least_margin > 0:
            assert tost(observed, draws, found.least_margin * 1.0001, alpha=alpha).verdict == "equivalent"
            assert tost(observed, draws, found.least_margin * 0.9999, alpha=alpha).verdict != "equivalent"
    assert {"equivalent", "different", "not known"} == set(verdicts)


def test_sides_are_alike() -> None:
    draws = np.random.default_rng(2).normal(0.01, 0.01, 999)
    one, other = tost(0.01, draws, 0.03), tost(-0.01, -draws, 0.03)
    assert (one.p, one.low, one.high) == (other.p, -other.high, -other.low)


@pytest.mark.parametrize("margin", [1e-6, 0.01, 0.5])
def test_a_model_is_equivalent_to_itself_within_any_margin(margin: float) -> None:
    found = tost(0.0, np.zeros(999), margin)
    assert (found.verdict, found.p, found.low, found.high) == ("equivalent", 1 / 1000, 0.0, 0.0)


def test_two_models_that_agreed_on_few_examples_are_not_equivalent_within_a_hair() -> None:
    found = tost(0.0, np.zeros(999), 0.01, n=100)
    assert found.p == pytest.approx(0.99**100)
    assert found.verdict == "not known"
    # what differs in 0 of 100 differs in at most 2.95 % (Clopper-Pearson, one-sided)
    assert found.high == pytest.approx(scipy_stats.binomtest(0, 100).proportion_ci(0.9).high, abs=1e-9)
    assert tost(0.0, np.zeros(999), 0.03, n=100).verdict == "equivalent"
    assert tost(0.0, np.zeros(999), found.least_margin + 1e-9, n=100).p <= 0.05
    assert tost(0.0, np.zeros(999), 0.01, n=1000).verdict == "equivalent"
    assert tost(0.0, np.zeros(999), 2.0, n=0).verdict == "not known"


def difference(metric: str, seed: int, gap: float, resamples: int) -> tuple[float, np.ndarray]:
    ours, theirs, group_N = pair(metric, seed, groups=150, size=2, gap=gap)
    rng = np.random.default_rng(seed)
    draws = resampling.bootstrap(metrics.METRICS[metric], np.concatenate([ours, theirs]), group_N, 150, resamples, rng)
    return metrics.score(metric, ours[0]) - metrics.score(metric, theirs[0]), draws[0] - draws[1]


@pytest.mark.parametrize("metric", ["accuracy", "span_f1", "token_f1", "spearman"])
def test_at_the_edge_one_in_twenty_and_in_the_middle_most(metric: str) -> None:
    gap, runs = 0.5, 300
    better, worse = (
        units_for(metric, np.random.default_rng(98), np.random.default_rng(99), 80_000, 2, noise) for noise in (0, gap)
    )
    margin = metrics.score(metric, better) - metrics.score(metric, worse)  # so the true difference is the margin
    edge = sum(tost(*difference(metric, 100 + i, gap, 299), margin).p <= 0.05 for i in range(runs))
    low, high = scipy_stats.binom.ppf([0.0005, 0.9995], runs, 0.05)
    assert low <= edge <= high, f"{edge} of {runs} at the edge"
    middle = [tost(*difference(metric, 7000 + i, 0.0, 299), margin).verdict for i in range(40)]
    assert middle.count("equivalent") >= 30
    assert "different" not in middle


def test_what_cannot_be_told_is_withheld_with_the_reason() -> None:
    draws = np.random.default_rng(3).normal(0, 0.01, 999)
    undefined = tost(0.0, np.where(np.arange(999) % 10 == 0, np.nan, draws), 0.05)
    assert undefined.withheld.startswith("100 of 999")
    unknown = tost(float("nan"), draws, 0.05)
    few = tost(0.0, draws[:10], 0.05)
    assert "10 resamples allow no p under 0.091" in few.withheld
    one_example = tost(1.0, np.ones(999), 0.05)
    assert "every resample is the same" in one_example.withheld
    for found in (undefined, unknown, few, one_example, tost(0.0, np.empty(0), 0.05)):
        assert found.withheld
        assert found.verdict == "not known"
        assert all(math.isnan(x) for x in (found.p, found.low, found.high, found.least_margin))


def test_a_few_undefined_draws_count_against_equivalence() -> None:
    draws = np.random.default_rng(3).normal(0, 0.01, 999)
    holed = np.where(np.arange(999) % 50 == 0, np.nan, draws)
    whole, found = tost(0.0, draws, 0.03), tost(0.0, holed, 0.03)
    assert not found.withheld
    assert found.p > whole.p
    assert found.low < whole.low
    assert found.high > whole.high


@pytest.mark.parametrize("margin", [0.0, -0.01, float("nan"), float("inf")])
def test_a_margin_that_is_none_is_refused(margin: float) -> None:
    with pytest.raises(UserError, match="margin above 0"):
        tost(0.0, np.zeros(99), margin)
    with pytest.raises(UserError, match=r"between 0 and 0\.5"):
        tost(0.0, np.zeros(99), 0.01, alpha=0.5)
