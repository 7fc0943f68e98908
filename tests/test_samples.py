"""What resamples say, against scipy's BCa and binomial test, hand-made cases, and the truth that intervals cover."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats as scipy_stats

from unibench import metrics, resampling
from unibench.stats.samples import bca, interval, near_edge, p_value


def test_p_is_right_tailed_counts_ties_and_is_never_0() -> None:
    null = np.array([0.0, 0.1, -0.2, 0.2 - 1e-14, 0.3])
    assert p_value(0.2, null) == pytest.approx(4 / 6)
    assert p_value(-0.2, null) == pytest.approx(4 / 6)
    assert p_value(5.0, null) == pytest.approx(1 / 6)
    assert p_value(0.25, np.array([np.nan, 0.0])) == pytest.approx(2 / 3)
    assert math.isnan(p_value(float("nan"), null))


def test_interval_leaves_a_few_undefined_samples_out_but_not_many() -> None:
    samples = np.linspace(0, 1, 1001)
    assert interval(samples) == pytest.approx((0.025, 0.975))
    samples[::100] = np.nan
    assert interval(samples) == pytest.approx((0.025, 0.975), abs=0.002)
    samples[: len(samples) // 10] = np.nan
    assert all(math.isnan(x) for x in interval(samples))


def scipys(statistic, data, rng, **how):
    return scipy_stats.bootstrap(data, statistic, method="BCa", rng=rng, vectorized=True, **how)


@pytest.mark.parametrize("level", [0.9, 0.95])
@pytest.mark.parametrize("seed", range(4))
def test_bca_of_a_mean_and_of_a_ratio_equals_scipy(seed: int, level: float) -> None:
    rng = np.random.default_rng(seed)
    x, y = rng.exponential(size=23), rng.gamma(2.0, size=23)

    def ratio(a, b, axis=-1):
        return a.mean(axis=axis) / b.mean(axis=axis)

    apart = ~np.eye(23, dtype=bool)
    for statistic, data in ((np.mean, (x,)), (ratio, (x, y))):
        found = scipys(statistic, data, rng, paired=True, n_resamples=999, confidence_level=level)
        without = np.array([statistic(*(values[kept] for values in data)) for kept in apart])
        low, high = bca(float(statistic(*data)), found.bootstrap_distribution, without, level)
        assert low == pytest.approx(found.confidence_interval.low, rel=1e-9)
        assert high == pytest.approx(found.confidence_interval.high, rel=1e-9)


@pytest.mark.parametrize("metric", ["token_f1", "span_f1"])
def test_bca_of_a_resampled_metric_agrees_with_scipys_own_resamples(metric: str) -> None:
    """Our weights, our jackknife, our units; scipy draws, scores and leaves out by itself."""
    rng = np.random.default_rng(3)
    found = metrics.METRICS[metric]
    units = rng.gamma(1.0, size=(40, len(found.unit_names)))
    columns = tuple(units.T)

    def score(*data, axis=-1):
        features = np.stack(data, axis=-1)
        totals = features.sum(axis=-2)
        if metric == "token_f1":
            return totals[..., 1] / 40
        return totals[..., 0] / (totals[..., 0] + (totals[..., 1] + totals[..., 2]) / 2)

    theirs = scipys(score, columns, rng, paired=True, n_resamples=40_000).confidence_interval
    boot = resampling.bootstrap(found, units[None], np.arange(40), 40, 40_000, rng)[0]
    without = resampling.jackknife(found, units[None], np.arange(40), 40)[0]
    low, high = bca(metrics.score(metric, units), boot, without)
    assert low == pytest.approx(theirs.low, abs=0.03 * (theirs.high - theirs.low))
    assert high == pytest.approx(theirs.high, abs=0.03 * (theirs.high - theirs.low))


def test_bca_without_bias_or_skew_is_the_percentile_interval() -> None:
    samples = np.linspace(-1, 1, 2001)
    assert bca(0.0, samples, np.array([-1.0, 0.0, 1.0])) == pytest.approx(interval(samples), abs=1e-9)
    low, high = bca(0.4, samples, np.array([-1.0, 0.0, 1.0]))
    assert low > interval(samples)[0]
    assert high > interval(samples)[1], "most samples lie below what was observed: the interval moves up"


def test_bca_says_nothing_where_its_correction_has_no_value() -> None:
    samples, spread = np.linspace(0, 1, 100), np.array([0.4, 0.5, 0.6])
    assert bca(0.25, np.full(50, 0.25), np.full(9, 0.25)) == (0.25, 0.25)
    for observed, drawn, without in (
        (-0.1, samples, spread),  # outside all samples: no bias can be told
        (1.1, samples, spread),
        (0.5, samples, np.full(9, 0.5)),  # no acceleration
        (float("nan"), samples, spread),
        (0.5, np.full(9, np.nan), spread),
        (0.5, samples, np.array([np.nan, 0.4, 0.6])),
        (0.5, np.where(samples < 0.1, np.nan, samples), spread),
    ):
        assert all(math.isnan(limit) for limit in bca(observed, drawn, without))
    strong = np.r_[np.full(200, 0.5), -9.0]
    assert not math.isnan(bca(0.999, samples, strong)[0])
    assert math.isnan(bca(0.999, samples, strong, 1 - 1e-7)[0]), "a limit beyond infinity"


def drawn_pair(metric: str, rng: np.random.Generator, n: int) -> tuple[np.ndarray, float]:
    """Two systems' units (2, n, K) on the same examples, and the true difference of their scores."""
    if metric == "accuracy":
        gold = np.ones(n)
        return np.stack([np.column_stack([gold, rng.random(n) < q]) for q in (0.9, 0.8)]).astype(float), 0.1
    if metric == "token_f1":
        shared = rng.random(n)  # E x³ = 1/4, E x⁵ = 1/6
        return np.stack([np.column_stack([shared * 0, shared**k]) for k in (3, 5)]), 1 / 4 - 1 / 6
    if metric == "span_f1":
        spans, units, truth = rng.integers(0, 4, n), [], []
        for q in (0.8, 0.7):
            found = rng.binomial(spans, q)
            units.append(np.column_stack([found, rng.binomial(2, 1 - q, n), spans - found]))
            truth.append(1.5 * q / (1.5 * q + (2 * (1 - q) + 1.5 * (1 - q)) / 2))
        return np.stack(units).astype(float), truth[0] - truth[1]
    gold = rng.normal(size=n)
    noise = rng.normal(size=(2, n))
    rho = (0.8, 0.6)
    units = [np.column_stack([gold, r * gold + np.sqrt(1 - r * r) * e]) for r, e in zip(rho, noise, strict=True)]
    return np.stack(units), 6 / np.pi * (np.arcsin(rho[0] / 2) - np.arcsin(rho[1] / 2))


@pytest.mark.parametrize("metric", ["accuracy", "token_f1", "span_f1", "spearman"])
def test_bca_of_a_paired_difference_covers_the_truth(metric: str) -> None:
    runs, covered = 300, 0
    found, n = metrics.METRICS[metric], 80
    for i in range(runs):
        rng = np.random.default_rng(i)
        units, truth = drawn_pair(metric, rng, n)
        ours, theirs = resampling.bootstrap(found, units, np.arange(n), n, 499, rng)
        my, their = resampling.jackknife(found, units, np.arange(n), n)
        observed = metrics.score(metric, units[0]) - metrics.score(metric, units[1])
        low, high = bca(observed, ours - theirs, my - their)
        covered += low <= truth <= high
    assert 0.90 <= covered / runs <= 0.985, f"{covered} of {runs}"


@pytest.mark.parametrize(("count", "resamples"), [(0, 999), (30, 999), (49, 999), (70, 9_999), (999, 999)])
def test_the_edge_is_inside_the_binomial_interval_of_p(count: int, resamples: int) -> None:
    expected = scipy_stats.binomtest(count, resamples).proportion_ci(0.99, method="exact")
    p = (count + 1) / (resamples + 1)
    for alpha in np.linspace(0.0005, 0.9995, 200):
        assert near_edge(p, float(alpha), resamples) == (expected.low <= alpha <= expected.high)


def test_more_resamples_settle_what_few_leave_open() -> None:
    assert near_edge(0.045, 0.05, 999)
    assert not near_edge(0.045, 0.05, 99_999)
    assert near_edge(1 / 1000, 0.0001, 999), "p can't be lower than this"
    assert not near_edge(1.0, 0.05, 99)
    assert not near_edge(float("nan"), 0.05, 99)
