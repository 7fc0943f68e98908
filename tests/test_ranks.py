"""Standings: pairwise p by an index loop, their level and power in four families, and ranks that hold the true ones."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats
from statsmodels.stats.multitest import multipletests

from unibench import metrics, resampling
from unibench.stats.ranks import Standing, note, pairwise, rank_intervals, standings

SHAPES = ["accuracy", "span_f1", "token_f1", "spearman"]
NAN = float("nan")


def planted(means, *, sd: float = 0.01, resamples: int = 999, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Scores as they were observed, and normal draws about them: what a bootstrap of means gives."""
    rng = np.random.default_rng(seed)
    point = np.array(means) + sd * rng.normal(size=len(means))
    return point, point[:, None] + sd * rng.normal(size=(len(means), resamples))


def equal_models(metric: str, seed: int, *, groups: int, size: int, gaps=(0.0, 0.0)) -> np.ndarray:
    """Units (M, N, K) of models on the same gold, with errors that examples of one group share in part."""
    n, gold_rng = groups * size, np.random.default_rng(seed)
    gold_score, spans, label = gold_rng.random(n), gold_rng.integers(1, 4, n), gold_rng.integers(0, 3, n)
    hard = np.repeat(gold_rng.normal(size=groups), size)  # some groups are hard for every model
    out = []
    for k, gap in enumerate(gaps):
        rng = np.random.default_rng((seed, k))
        error = 0.5 * hard + 0.5 * np.repeat(rng.normal(size=groups), size) + 0.7 * rng.normal(size=n) + gap
        units = {
            "accuracy": [label, np.where(error > 0.8, (label + 1) % 3, label)],
            "token_f1": [error < 0, np.clip(0.6 - 0.3 * error, 0, 1)],
            "spearman": [gold_score, 5 * gold_score + (1 + gap) * (error - gap)],
        }
        missed = np.clip(np.round(error), 0, spans)
        units["span_f1"] = [spans - missed, np.clip(np.round(error), 0, 3), missed]
        out.append(np.column_stack(units[metric]).astype(float))
    return np.stack(out)


def drawn(metric: str, seed: int, *, groups: int, size: int, gaps=(0.0, 0.0)) -> tuple[np.ndarray, np.ndarray]:
    units = equal_models(metric, seed, groups=groups, size=size, gaps=gaps)
    place = np.repeat(np.arange(groups), size)
    rng = np.random.default_rng((seed, 99))
    draws = resampling.bootstrap(metrics.METRICS[metric], units, place, groups, 399, rng)
    return np.array([metrics.score(metric, one) for one in units]), draws


def test_p_is_that_of_an_index_loop() -> None:
    point, draws = planted([0.5, 0.51, 0.52], resamples=199)
    found = pairwise(point, draws)
    for i in range(3):
        for j in range(3):
            observed, count = point[i] - point[j], 0
            for r in range(199):
                count += abs((draws[i, r] - draws[j, r]) - observed) >= abs(observed) - 1e-10
            assert found[i, j] == (count + 1) / 200
    assert np.array_equal(found, found.T)
    assert list(found.diagonal()) == [1, 1, 1]


def test_identical_models_have_p_1_and_one_of_no_score_has_none() -> None:
    point, draws = planted([0.5, 0.9, 0.6])
    point[1], draws[1] = point[0], draws[0]
    point[2] = NAN
    before = point.copy(), draws.copy()
    found = pairwise(point, draws)
    assert found[0, 1] == found[1, 0] == 1.0
    assert np.isnan(found[2]).all()
    assert np.isnan(found[:, 2]).all()
    assert np.array_equal(point, before[0], equal_nan=True)
    assert np.array_equal(draws, before[1])


def test_p_does_not_depend_on_the_order_of_models_or_on_the_others() -> None:
    point, draws = planted([0.5, 0.51, 0.53, 0.55])
    order = [2, 0, 3, 1]
    assert np.array_equal(pairwise(point[order], draws[order]), pairwise(point, draws)[np.ix_(order, order)])
    assert np.array_equal(pairwise(point[:2], draws[:2]), pairwise(point, draws)[:2, :2])


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("metric", SHAPES)
def test_one_in_twenty_pairs_of_equal_models_is_told_apart(metric: str, size: int) -> None:
    runs = 200
    p = [pairwise(*drawn(metric, i, groups=150, size=size))[0, 1] for i in range(runs)]
    rejected = sum(x <= 0.05 for x in p)
    low, high = scipy_stats.binom.ppf([0.0005, 0.9995], runs, 0.05)
    assert low <= rejected <= high, f"{rejected} of {runs} rejected at 5 %"


@pytest.mark.parametrize("metric", SHAPES)
def test_a_planted_gap_is_found(metric: str) -> None:
    p = [pairwise(*drawn(metric, 500 + i, groups=150, size=3, gaps=(0.0, 0.6)))[0, 1] for i in range(20)]
    assert sum(x <= 0.05 for x in p) >= 17


def test_of_ten_equal_models_the_tests_rarely_tell_any_apart_and_every_rank_stays_possible() -> None:
    """The family: 45 pairs, most runs without one false claim; and the percentiles of drawn ranks, which would fail."""
    runs, false, naive = 200, 0, 0
    for i in range(runs):
        point, draws = planted([0.5] * 10, seed=i)
        low, high = rank_intervals(point, draws)
        false += not ((low == 1).all() and (high == 10).all())
        ranks = 1 + (draws[None] > draws[:, None]).sum(axis=1)
        bounds = np.quantile(ranks, [0.025, 0.975], axis=1)
        true = np.arange(1, 11)  # as good as equal, and in this order
        naive += not ((bounds[0] <= true) & (true <= bounds[1])).all()
    assert false <= scipy_stats.binom.ppf(0.9995, runs, 0.05)
    assert naive / runs > 0.5


@pytest.mark.parametrize("step", [0.002, 0.01, 0.03])
def test_rank_intervals_hold_all_true_ranks_at_once_and_shrink_as_models_part(step: float) -> None:
    runs, missed, width = 150, 0, []
    for i in range(runs):
        low, high = rank_intervals(*planted(0.5 - step * np.arange(6), seed=1000 + i))
        true = np.arange(1, 7)
        missed += not ((low <= true) & (true <= high)).all()
        width.append(np.mean(high - low))
    assert missed <= scipy_stats.binom.ppf(0.9995, runs, 0.05)
    assert np.mean(width) < 2.5 or step < 0.03


def test_rank_intervals_by_hand() -> None:
    point, draws = planted([0.9, 0.5, 0.5, 0.1], sd=0.001)
    low, high = rank_intervals(point, draws)
    assert list(low) == [1, 2, 2, 4]
    assert list(high) == [1, 3, 3, 4]
    point[3], draws[3] = 0.3, NAN  # a score, but no resample of it: withheld, and it takes no place
    low, high = rank_intervals(point, draws)
    assert list(low[:3]) == [1, 2, 2]
    assert list(high[:3]) == [1, 3, 3]
    assert math.isnan(low[3])
    assert math.isnan(high[3])


def test_standings_by_hand() -> None:
    point = np.array([0.5, NAN, 0.9, 0.5, 0.7])
    rng = np.random.default_rng(0)
    noise = 0.001 * rng.normal(size=999)
    draws = point[:, None] + np.stack([noise, noise, -noise, noise, 2 * noise])
    assert standings(["low", "lost", "best", "twin", "middle"], point, draws)[:4] == (
        Standing(model="best", rank=1, low=1, high=1, letters="a"),
        Standing(model="middle", rank=2, low=2, high=2, letters="b"),
        Standing(model="low", rank=3.5, low=3, high=4, letters="c"),
        Standing(model="twin", rank=3.5, low=3, high=4, letters="c"),
    )
    lost = standings(["low", "lost", "best", "twin", "middle"], point, draws)[4]
    assert (lost.model, lost.letters, lost.reason) == ("lost", "", "its score is undefined")
    assert all(map(math.isnan, (lost.rank, lost.low, lost.high)))


def test_a_tie_that_is_not_transitive_gets_two_letters() -> None:
    rng = np.random.default_rng(1)
    point = np.array([0.52, 0.50, 0.48])
    draws = point[:, None] + 0.01 * rng.normal(size=(3, 4999))
    best, middle, last = standings(["a", "b", "c"], point, draws)
    assert (best.letters, middle.letters, last.letters) == ("a", "ab", "b")
    assert [(s.low, s.high) for s in (best, middle, last)] == [(1, 2), (1, 3), (2, 3)]


@given(st.lists(st.floats(0.4, 0.6), min_size=1, max_size=7), st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_letters_and_intervals_say_what_holm_over_the_pairs_says(means: list[float], seed: int) -> None:
    point, draws = planted(means, sd=0.03, resamples=299, seed=seed)
    names = [f"m{i}" for i in range(len(means))]
    found = {s.model: s for s in standings(names, point, draws)}
    assert [s.rank for s in standings(names, point, draws)] == sorted(s.rank for s in found.values())
    p = pairwise(point, draws)
    upper = np.triu_indices(len(means), 1)
    if len(means) > 1:
        for i, j, rejected in zip(*upper, multipletests(p[upper], alpha=0.05, method="holm")[0], strict=True):
            assert bool(set(found[names[i]].letters) & set(found[names[j]].letters)) != rejected
    low, high = rank_intervals(point, draws)
    for i, name in enumerate(names):
        assert (found[name].low, found[name].high) == (low[i], high[i])
        assert low[i] <= found[name].rank <= high[i]


def test_one_model_no_model_and_no_score_at_all() -> None:
    assert standings([], np.empty(0), np.empty((0, 10))) == ()
    assert standings(["only"], np.array([0.5]), np.full((1, 9), 0.5)) == (
        Standing(model="only", rank=1, low=1, high=1, letters="a"),
    )
    point, draws = np.array([0.5, 0.6]), np.full((2, 100), 0.5)
    draws[:, :6] = NAN
    assert [s.reason for s in standings(["x", "y"], point, draws)] == [
        "its score is undefined in more than 1 in 20 resamples"
    ] * 2
    draws[:, :5] = 0.5
    assert [s.letters for s in standings(["x", "y"], point, draws)] != ["", ""]


def test_arrays_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"2 scores need as many rows of resamples; got an array \(3, 5\)"):
        pairwise(np.zeros(2), np.zeros((3, 5)))
    with pytest.raises(ValueError, match="3 names"):
        standings(["a", "b", "c"], np.zeros(2), np.zeros((2, 5)))


def test_the_note_says_what_few_resamples_cannot_show() -> None:
    assert "smallest attainable 0.0015" in note(6, 9999)
    assert "cannot" not in note(6, 9999)
    assert "no pair can be told apart: it takes 299." in note(6, 99)
    point, draws = planted(0.1 * np.arange(6), resamples=298)  # far apart, but a resample short
    assert {s.letters for s in standings(list("abcdef"), point, draws)} == {"a"}
    point, draws = planted(0.1 * np.arange(6), resamples=299)
    assert [s.letters for s in standings(list("abcdef"), point, draws)] == list("abcdef")
    assert "nothing to rank" in note(1, 9999)
