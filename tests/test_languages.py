"""Intervals over random languages: scipy without draws, hand-made draws, and coverage in simulations."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats as scipy_stats

from unibench import resampling
from unibench.stats import languages


def named(values: np.ndarray) -> dict[str, float]:
    return {f"l{i}": float(value) for i, value in enumerate(values)}


def test_without_draws_it_is_the_t_interval() -> None:
    values = np.random.default_rng(0).normal(0.02, 0.01, size=13)
    found = languages.claim(named(values))
    expected = scipy_stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert (found.delta, found.n) == (pytest.approx(values.mean()), 13)
    assert found.test == "t over random languages, these examples"
    wide = languages.claim(named(values), level=0.99)
    assert wide.low < found.low


def test_withheld_below_ten_languages_and_where_one_is_undefined() -> None:
    nine = languages.claim(named(np.arange(9.0)))
    assert nine.withheld == "9 languages: an interval over languages needs at least 10"
    assert nine.delta == 4.0
    holed = languages.claim(named(np.array([*range(11), np.nan])))
    assert holed.withheld == "no difference in l11"
    none = languages.claim({})
    assert none.withheld.startswith("0 languages")
    draws = np.random.default_rng(0).normal(size=(10, 100))
    draws[3, :6] = np.nan
    undefined = languages.claim(named(np.arange(10.0)), draws)
    assert undefined.withheld == "the score is undefined in more than 1 of 20 resamples of the examples"
    for found in (nine, holed, none, undefined):
        assert math.isnan(found.low)
        assert math.isnan(found.high)
    draws[3, 5] = 0.0
    assert not languages.claim(named(np.arange(10.0)), draws).withheld
    with pytest.raises(ValueError, match="draws of 10 languages for differences in 11"):
        languages.claim(named(np.arange(11.0)), draws)


def test_noise_that_all_languages_share_is_added_and_their_own_is_not() -> None:
    """By hand: own draws cancel over pairs of resamples, shared ones don't; s²/L + var(shared), Satterthwaite's df."""
    values = np.linspace(-1, 1, 10)
    own = np.zeros((10, 40))
    for i in range(10):  # orthogonal and centred: the covariance between languages is exactly 0
        own[i, 4 * i : 4 * i + 4] = [3, -3, 3, -3]
    shared = np.tile([0.5, -0.5], 20)
    opposed = np.outer([1, -1] * 5, shared)  # a covariance below 0 takes nothing away
    for draws in (own, opposed):
        assert languages.claim(named(values), draws).high == pytest.approx(languages.claim(named(values)).high)
    found = languages.claim(named(values), np.tile(shared, (10, 1)))
    spread = values.var(ddof=1) / 10
    total = spread + shared.var(ddof=1)
    half = scipy_stats.t.ppf(0.975, total**2 / (spread**2 / 9)) * math.sqrt(total)
    assert (found.low, found.high) == pytest.approx((-half, half))
    assert found.test == "t over random languages, new examples"


def test_identical_models_differ_by_exactly_0() -> None:
    found = languages.claim(named(np.zeros(12)), np.zeros((12, 50)))
    assert (found.delta, found.low, found.high) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize(("between", "own", "shared"), [(1.0, 5.0, 0.0), (1.0, 5.0, 8.0), (0.1, 10.0, 0.0)])
def test_coverage_over_languages_and_examples(between: float, own: float, shared: float) -> None:
    """The truth is 0. Without the joint draws the second is too narrow; a bootstrap of both, the third, too wide."""
    runs, n, examples, resamples = 400, 10, 100, 150
    covered = ignoring = doubled = 0
    for i in range(runs):
        rng = np.random.default_rng(i)
        x = (
            between * rng.normal(size=(n, 1))
            + own * rng.normal(size=(n, examples))
            + shared * rng.normal(size=examples)
        )
        weights = rng.multinomial(examples, np.full(examples, 1 / examples), size=resamples) / examples
        draws, values = x @ weights.T, named(x.mean(axis=1))
        found, alone = languages.claim(values, draws), languages.claim(values)
        covered += found.low <= 0 <= found.high
        ignoring += alone.low <= 0 <= alone.high
        picked = rng.integers(0, n, size=(resamples, n))
        low, high = resampling.interval(draws[picked, np.arange(resamples)[:, None]].mean(axis=1))
        doubled += low <= 0 <= high
    at_least, at_most = scipy_stats.binom.ppf([0.0005, 0.9995], runs, 0.95)
    assert at_least <= covered <= at_most, f"{covered} of {runs}"
    if shared:
        assert ignoring < at_least
    if between < own / 50:
        assert doubled > at_most
