"""Corrections against statsmodels and a paper's example, and what they bound, by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats
from statsmodels.stats.multitest import multipletests

from unibench.stats.corrections import benjamini_hochberg, bonferroni, holm, k_hat, one_sided, resamples_for

METHODS = [(bonferroni, "bonferroni"), (holm, "holm"), (benjamini_hochberg, "fdr_bh")]


@pytest.mark.parametrize(("ours", "method"), METHODS)
def test_equal_to_statsmodels_with_ties_zeros_and_ones(ours, method: str) -> None:
    rng = np.random.default_rng(0)
    for size in (1, 2, 5, 40):
        for p in (rng.random(size) ** 4, np.round(rng.random(size), 1), np.zeros(size), np.ones(size)):
            assert ours(list(p)) == pytest.approx(list(multipletests(p, method=method)[1]))


@pytest.mark.parametrize(("ours", "method"), METHODS)
@given(p=st.lists(st.one_of(st.just(float("nan")), st.floats(0, 1)), max_size=12))
def test_nan_is_no_test_and_order_stays(ours, method: str, p: list[float]) -> None:
    found = ours(p)
    tested = [x for x in p if not math.isnan(x)]
    assert [math.isnan(x) for x in found] == [math.isnan(x) for x in p]
    assert [x for x in found if not math.isnan(x)] == ours(tested)
    assert all(raw - 1e-12 <= adjusted <= 1 for raw, adjusted in zip(tested, ours(tested), strict=True))
    # a smaller p never has a larger adjusted one
    pairs = sorted(zip(tested, ours(tested), strict=True))
    assert [adjusted for _, adjusted in pairs] == sorted(adjusted for _, adjusted in pairs)


def test_holm_bounds_any_false_rejection_and_bh_only_their_share() -> None:
    """Half of 40 correlated tests have an effect."""
    rng, runs, size = np.random.default_rng(1), 2000, 40
    effect = np.where(np.arange(size) < size // 2, 3.0, 0.0)
    errors = {holm: 0, benjamini_hochberg: 0}
    share = 0.0
    for _ in range(runs):
        z = effect + math.sqrt(0.3) * rng.normal() + math.sqrt(0.7) * rng.normal(size=size)
        p = list(scipy_stats.norm.sf(z))
        for method in errors:
            rejected = np.array(method(p)) <= 0.05
            errors[method] += bool(rejected[size // 2 :].any())
            if method is benjamini_hochberg:
                share += rejected[size // 2 :].sum() / max(1, rejected.sum()) / runs
    most = scipy_stats.binom.ppf(0.9995, runs, 0.05) / runs
    assert errors[holm] / runs <= most
    assert share <= most
    assert errors[benjamini_hochberg] / runs > 0.15


def test_k_hat_counts_no_fewer_than_holm_rejects() -> None:
    """Bonferroni's partial conjunction counts at least as many as Holm rejects, and never falls with alpha."""
    rng = np.random.default_rng(2)
    for _ in range(50):
        p = list(rng.random(9) ** 4)
        rejected = sum(adjusted <= 0.05 for adjusted in holm(p))
        assert rejected <= k_hat(p) <= 9
        assert k_hat(p, alpha=0.01) <= k_hat(p, alpha=0.05)


def test_k_hat_seldom_counts_more_than_there_are() -> None:
    rng, runs = np.random.default_rng(3), 2000
    over = 0
    for _ in range(runs):
        p = list(scipy_stats.norm.sf(np.where(np.arange(8) < 3, 4.0, 0.0) + rng.normal(size=8)))
        over += k_hat(p) > 3
    assert over / runs <= scipy_stats.binom.ppf(0.9995, runs, 0.05) / runs


def test_one_sided_is_scipys() -> None:
    for z in (-2.5, -0.3, 0.4, 1.7):
        two_sided = 2 * scipy_stats.norm.sf(abs(z))
        assert one_sided(two_sided, z) == pytest.approx(scipy_stats.norm.sf(z))


@given(family=st.integers(0, 100_000), wanted=st.integers(1, 50_000))
def test_resamples_are_enough_for_the_family(family: int, wanted: int) -> None:
    n = resamples_for(family, wanted)
    assert n >= wanted
    assert n >= 40 * family
    assert family / (n + 1) < 0.05 / 2, "the smallest attainable p, times the family, is clearly significant"
    assert resamples_for(family + 1, wanted) >= n
    assert n == wanted or n % 10_000 == 0


def test_the_worked_example_of_dror_et_al() -> None:
    p = (0.168, 0.297, 0.357, 0.019, 0.218, 0.001)
    assert k_hat(p) == 1
    assert k_hat(p, method="fisher") == 2
    assert [adjusted <= 0.05 for adjusted in holm(p)] == [False] * 5 + [True]


def test_k_hat_counts_all_and_none() -> None:
    assert k_hat([0.001] * 4) == 4
    assert k_hat([0.9] * 4) == 0
    assert k_hat([]) == 0
    assert k_hat([float("nan"), 0.001]) == 1
    # a strong first, then one that fails, then none may count even if its own partial p were small
    assert k_hat([0.001, 0.04, 0.04, 0.04]) == 1


def test_fishers_partial_conjunction_of_one_data_set_is_fishers_test() -> None:
    p = [0.03, 0.2, 0.4]
    combined = scipy_stats.combine_pvalues(p, method="fisher").pvalue
    assert k_hat(p, alpha=combined + 1e-9, method="fisher") >= 1
    assert k_hat(p, alpha=combined - 1e-9, method="fisher") == 0
